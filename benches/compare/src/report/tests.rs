use super::*;
use crate::system::System;

fn series(name: &'static str, kind: Kind, per_s: &[f64]) -> Series {
    let case =
        Case { suite: Suite::Stream, bytes: 64, batch: 1, senders: 1, receivers: 1, mode: Mode::Plain, records: 0 };
    let measure = |&per_s: &f64| Measure { per_s: Some(per_s), ..Measure::NONE };
    Series {
        system: System { name, kind, suites: &[Suite::Stream], how: Err("canned") },
        case,
        measures: per_s.iter().map(measure).collect(),
        missing: None,
    }
}

#[test]
fn medians_do_not_mind_one_bad_round() {
    assert_eq!(median([3.0, 1.0, 1000.0]), Some(3.0));
    assert_eq!(median([1.0, 2.0, 4.0, 100.0]), Some(3.0));
    assert_eq!(median([]), None);
}

#[test]
fn a_canned_run_as_json() {
    let mut broken = series("pipe", Kind::Process, &[1.0]);
    broken.missing = Some("5 messages sent, 4 received".to_owned());
    let all = [
        series("memcpy-ring", Kind::Limit, &[80e6, 100e6, 125e6]),
        series("shmlog-exclusive", Kind::Process, &[40e6, 75e6, 100e6]),
        broken,
    ];
    let lines: Vec<_> = rows(&all).iter().map(|row| serde_json::to_string(row).unwrap()).collect();
    assert_eq!(
        lines,
        [
            r#"{"suite":"stream","system":"memcpy-ring","kind":"limit","bytes":64,"batch":1,"msgs_per_s":100000000.0,"gb_per_s":6.4,"ratio_to_limit":1.0,"limit":"memcpy-ring","ratios":{"shmlog-exclusive":1.3333333333333333},"spread":[80000000.0,125000000.0],"rounds":3}"#,
            r#"{"suite":"stream","system":"shmlog-exclusive","kind":"process","bytes":64,"batch":1,"msgs_per_s":75000000.0,"gb_per_s":4.8,"ratio_to_limit":0.75,"limit":"memcpy-ring","ratios":{"memcpy-ring":0.75},"spread":[40000000.0,100000000.0],"rounds":3}"#,
            r#"{"suite":"stream","system":"pipe","kind":"process","bytes":64,"batch":1,"rounds":1,"missing":"5 messages sent, 4 received"}"#,
        ]
    );
}

#[test]
fn latencies_are_medians_of_the_rounds_percentiles() {
    let mut one = series("shmlog-shared", Kind::Process, &[1.0, 1.0, 1.0]);
    one.case.suite = Suite::Rtt;
    for (measure, base_ns) in one.measures.iter_mut().zip([100_u64, 900, 200]) {
        let mut times = no_times();
        (0..1000).for_each(|at| times.saturating_record((base_ns + at / 990 * 1000) * 1000));
        (measure.times, measure.per_s) = (Some(times), None);
    }
    let row = &rows(&[one])[0];
    let is_about = |found: Option<f64>, wanted: f64| found.is_some_and(|found| (found / wanted - 1.0).abs() < 0.01);
    assert!(is_about(row.p50_ns, 200.0) && is_about(row.p999_ns, 1200.0), "{row:?}");
    assert!(row.spread.is_some_and(|[low, high]| is_about(Some(low), 100.0) && is_about(Some(high), 900.0)));
    assert_eq!(row.ratio_to_limit, None, "the limit did not run");
}
