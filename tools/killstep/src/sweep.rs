//! Goes through an operation: one victim for every instruction.

use crate::report::{Report, Violation};
use crate::route::{End, Path};
use crate::stage::{Aftermath, Effect, Operation, Stage};
use crate::told::Told;
use crate::victim::Victim;
use anyhow::{Context, Result, anyhow, ensure};
use std::time::{Duration, Instant};

/// What is done to a victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is killed.
    Kill,
    /// It is stopped, and goes on later.
    Stop,
}

/// Of victims that are stopped, every how manyth is waited for as long as an appender does unless told otherwise.
const PATIENT_EVERY: usize = 49;
/// What takes long is tried again, so many times in all.
const TRIES: u32 = 4;
/// Victims that may go another way before one is stepped.
const ARRIVALS: usize = 20;
/// Violations after which the rest of an operation is left.
const ENOUGH: usize = 5;

/// How to sweep.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// What is done.
    pub mode: Mode,
    /// Every how many instructions; more where the operation says so. Those that others can see are all taken where it
    /// says that.
    pub every: usize,
    /// The first instruction, modulo `every`.
    pub first: usize,
    /// Victims at most, evenly from all that would be.
    pub most: Option<usize>,
}

/// A stage, and a victim before its operation.
struct Scene<'o> {
    // Before the stage, which it may hold up.
    victim: Victim,
    stage: Box<dyn Stage + 'o>,
}

impl<'o> Scene<'o> {
    fn set(operation: &'o dyn Operation, told: &Told) -> Result<Self> {
        let mut stage = operation.stage().context("making the stage")?;
        told.forget()?;
        // A victim that can't tell has told nothing, which is found out.
        let victim = Victim::start(|| drop(told.tell(&stage.play())));
        let victim = victim.map_err(|error| told.take().err().unwrap_or(error))?;
        stage.meanwhile().context("before the operation")?;
        Ok(Self { victim, stage })
    }
}

impl Sweep {
    /// Sweeps one operation. `progress` is told how many victims there were, and how many there are to be.
    ///
    /// # Errors
    /// What is wrong before the first victim; what is wrong later is in the report.
    pub fn run(&self, operation: &dyn Operation, mut progress: impl FnMut(usize, usize)) -> Result<Report> {
        let started = Instant::now();
        let told = Told::new()?;
        let path = record(operation, &told)?;
        let mut report = Report::new(operation.name(), &path);
        let all = self.targets(operation, &path);
        for (nth, &executed) in all.iter().enumerate() {
            progress(nth, all.len());
            match self.several(operation, &told, &path, executed, nth, &mut report) {
                Ok(aftermath) => report.enter(executed, path.is_beside_visible(executed), aftermath),
                Err(error) => {
                    let ip = path.ip(executed);
                    report.violations.push(Violation { executed, ip, what: format!("{error:#}") });
                    if report.violations.len() == ENOUGH {
                        break;
                    }
                }
            }
        }
        if self.mode == Mode::Kill && operation.effect() == Effect::Appears && report.violations.is_empty() {
            report.check_turn(operation.end() == End::Mark);
        }
        report.took = started.elapsed();
        Ok(report)
    }

    /// After how many instructions victims are met.
    fn targets(&self, operation: &dyn Operation, path: &Path) -> Vec<usize> {
        let every = self.every.max(operation.every()).max(1);
        let first = self.first % every;
        let is_meant = |executed: usize| {
            (operation.is_every_visible() && path.is_beside_visible(executed))
                || executed.checked_sub(first).is_some_and(|from| from.is_multiple_of(every))
        };
        let mut all: Vec<_> = (0..path.len()).filter(|&executed| is_meant(executed)).collect();
        if let Some(most) = self.most {
            let every = all.len().div_ceil(most.max(1)).max(1);
            all = all.into_iter().skip(self.first % every).step_by(every).collect();
        }
        // The last one stands behind the last instruction.
        all.push(path.len());
        all
    }

    /// One victim; another one if the survivors took long, which may be because others had the processor.
    fn several(
        &self,
        operation: &dyn Operation,
        told: &Told,
        path: &Path,
        executed: usize,
        nth: usize,
        report: &mut Report,
    ) -> Result<Aftermath> {
        let detours = report.detours;
        let mut best = self.one(operation, told, path, executed, nth, report)?;
        for _ in 1..TRIES {
            report.longest = report.longest.max(best.recovery);
            if best.recovery < operation.long() {
                break;
            }
            let again = self.one(operation, told, path, executed, nth, report)?;
            let is_same_way = report.detours == detours;
            let [first, second] = [best.is_there, again.is_there];
            ensure!(!is_same_way || first == second, "there: {first:?}, and with another victim {second:?}");
            if again.recovery < best.recovery {
                best = again;
            }
        }
        Ok(best)
    }

    fn one(
        &self,
        operation: &dyn Operation,
        told: &Told,
        path: &Path,
        executed: usize,
        nth: usize,
        report: &mut Report,
    ) -> Result<Aftermath> {
        let Scene { victim, mut stage } = arrive(operation, told, path, executed, report)?;
        match self.mode {
            Mode::Kill => {
                stage.before_death()?;
                victim.kill()?;
                stage.after_death()
            }
            Mode::Stop => {
                stage.while_stopped(nth.is_multiple_of(PATIENT_EVERY)).context("while it is stopped")?;
                victim.finish().map_err(|error| told.take().err().unwrap_or(error))?;
                stage.after_end(told.take()?).context("after it went on")?;
                Ok(Aftermath { is_there: None, recovery: Duration::ZERO })
            }
        }
    }
}

/// Steps through the whole operation. Once before to no purpose but that the parent's heap is as it will be.
fn record(operation: &dyn Operation, told: &Told) -> Result<Path> {
    for _ in 0..3 {
        let Scene { victim, mut stage } = Scene::set(operation, told)?;
        stage.before_death().context("before the operation")?;
        victim.kill()?;
        stage.after_death().context("killed before the operation")?;
    }
    let Scene { mut victim, stage } = Scene::set(operation, told)?;
    Path::record_in(&mut victim, operation.end(), stage.files()).context("stepping through it")
}

/// A victim that has executed so many instructions.
fn arrive<'o>(
    operation: &'o dyn Operation,
    told: &Told,
    path: &Path,
    executed: usize,
    report: &mut Report,
) -> Result<Scene<'o>> {
    // Not where one that went another way would sleep.
    if operation.end() == End::Mark {
        let route = path.route_to(executed);
        // One that went another way did so by chance, if the next one does not.
        for _ in 0..ARRIVALS {
            let mut scene = Scene::set(operation, told)?;
            if scene.victim.follow(&route)? {
                return Ok(scene);
            }
        }
        // Every step counted.
        report.detours += 1;
    }
    let mut scene = Scene::set(operation, told)?;
    for _ in 0..executed {
        if operation.end() == End::Futex && scene.victim.is_before_futex()? {
            break;
        }
        scene.victim.step()?;
        if scene.victim.is_behind_mark()? {
            break;
        }
    }
    Ok(scene)
}

/// Sweeps those of the operations that `names` begin; all if there are none.
///
/// # Errors
/// A name that begins none.
pub fn choose<'o>(all: &'o [Box<dyn Operation>], names: &[String]) -> Result<Vec<&'o dyn Operation>> {
    let is_meant = |operation: &&dyn Operation, name: &String| operation.name().starts_with(name.as_str());
    if let Some(name) = names.iter().find(|name| !all.iter().any(|one| is_meant(&&**one, name))) {
        return Err(anyhow!("there is no operation {name:?}"));
    }
    let mut chosen: Vec<_> = all.iter().map(|one| &**one).collect();
    chosen.retain(|operation| names.is_empty() || names.iter().any(|name| is_meant(operation, name)));
    Ok(chosen)
}
