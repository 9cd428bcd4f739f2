//! The engine itself: a victim is stopped after exactly so many instructions. Without the test harness, whose threads
//! must not be there when a victim is forked.

#[cfg(target_arch = "x86_64")]
fn main() {
    on_x86_64::every_instruction_is_come_to();
    on_x86_64::one_that_goes_on_ends_well();
    on_x86_64::what_a_victim_fails_with_is_told();
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {}

#[cfg(target_arch = "x86_64")]
mod on_x86_64 {
    use killstep::route::{End, Path};
    use killstep::told::Told;
    use killstep::victim::{Victim, mark};
    use shmlog::Arena;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    const TIMES: u64 = 20;

    /// Counts in shared memory, with something in between that may be an instruction which repeats itself.
    fn count(counter: &AtomicU64) {
        mark();
        for _ in 0..TIMES {
            counter.store(counter.load(Relaxed) + 1, Relaxed);
            std::hint::black_box([7_u8; 300]);
        }
        mark();
    }

    pub fn every_instruction_is_come_to() {
        let arena = Arena::create_memfd("counter", 4096).unwrap();
        let place = arena.allocate(8, 8).unwrap();
        let counter = &arena.atomics(place).unwrap()[0];
        let start = || {
            counter.store(0, Relaxed);
            Victim::start(|| count(counter)).unwrap()
        };
        let path = Path::record(&mut start(), End::Mark).unwrap();
        assert_eq!(counter.load(Relaxed), TIMES);
        let (mut before, mut shortened) = (0, 0);
        for executed in (0..path.len()).step_by(path.len() / 200).chain([path.len()]) {
            let mut short = start();
            assert!(short.follow(&path.route_to(executed)).unwrap(), "another way to {executed}");
            short.kill().unwrap();
            let counted = counter.load(Relaxed);
            let mut plain = start();
            assert!(plain.follow(&path.steps_to(executed)).unwrap(), "another way to {executed}");
            plain.kill().unwrap();
            assert_eq!(counter.load(Relaxed), counted, "both ways lead to {executed}");
            assert!(counted >= before);
            before = counted;
            shortened += u64::from(path.route_to(executed) != path.steps_to(executed));
        }
        assert_eq!(before, TIMES, "the last one stands behind the last instruction");
        assert!(shortened > 150, "{shortened} were come to by a breakpoint");
    }

    pub fn one_that_goes_on_ends_well() {
        let mut victim = Victim::start(|| {
            mark();
            mark();
        })
        .unwrap();
        assert!(victim.is_behind_mark().unwrap());
        victim.step().unwrap();
        assert!(!victim.is_behind_mark().unwrap());
        victim.finish().unwrap();
    }

    pub fn what_a_victim_fails_with_is_told() {
        let told = Told::new().unwrap();
        let fail = || drop(told.tell(&Err(anyhow::anyhow!("the reason"))));
        let started = Victim::start(fail);
        assert!(started.unwrap_err().to_string().contains("before the operation"));
        assert!(told.take().unwrap_err().to_string().contains("the reason"));
        told.forget().unwrap();
        assert!(told.take().is_err(), "nothing was told");
        told.tell(&Ok(17)).unwrap();
        assert_eq!(told.take().unwrap(), 17);
    }
}
