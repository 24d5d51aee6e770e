//! Differential testing: random calls by several processes, in lockstep on the simulated kernel and
//! on another one.
//!
//! The simulated kernel is the reference: `generate` derives plausible next steps from its state,
//! and it defines the expected answers. The other kernel is a [`Target`]. After every step the
//! answers, including all output fields, must be equal, and so must the observation of every
//! process ([`ProcessObservation`]). Numbers that a kernel may choose (addresses of mappings) are
//! passed to the other kernel as requests.
//!
//! The first difference ends the run. It is shrunk by leaving out steps, and reported with its
//! steps. A run is determined by its seed and the two kernels.

/// A union with boxed members: dozens of nested unions in one type take minutes to compile.
macro_rules! one_of {
    ($($weight:expr => $member:expr),+ $(,)?) => {
        proptest::strategy::Union::new_weighted(vec![$(($weight, $member.boxed())),+])
    };
    ($($member:expr),+ $(,)?) => { one_of![$(1 => $member),+] };
}

mod generate;
mod mutate;
mod prologue;
mod reference;
mod state;

use crate::target::Target;
use handoff_model::abi::call::{Call, CallResult};
use handoff_model::abi::ids::{Pid, Va};
use handoff_model::text;
use handoff_sim_kernel::{Failure, ProcessSpec, Profile};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use proptest_state_machine::ReferenceStateMachine;
use reference::Reference;
use state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A step of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A process makes a call.
    Call(Pid, Call),
    /// A new process starts with no descriptors.
    Spawn(ProcessSpec),
    /// A process forks.
    Fork(Pid),
    /// A process is killed.
    Kill(Pid),
    /// A process executes a new program.
    Exec(Pid),
    /// Two processes get the ends of a socket pair.
    Pair(Pid, Pid),
}

/// The answer of a step, and the observations after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// The answer, if the step was a call.
    pub answer: Option<CallResult>,
    /// Observations of the living processes.
    pub seen: BTreeMap<Pid, ProcessObservation>,
}

/// Observation of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessObservation {
    /// VmPin, in pages.
    pub vm_pin_pages: i64,
    /// VmLck, in pages.
    pub vm_lck_pages: i64,
}

/// Size and seed of a run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Minimum number of calls in all cases together.
    pub calls: u64,
    /// Number of random steps in a case.
    pub steps: usize,
    /// The seed that determines the run.
    pub seed: u64,
}

/// Report of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Number of cases, each starting without processes.
    pub cases: u64,
    /// Calls by name: how many were made, and how many failed.
    pub calls: BTreeMap<&'static str, (u64, u64)>,
    /// Branches of the simulator that refused a call.
    pub refusals: BTreeSet<Failure>,
    /// The first difference.
    pub difference: Option<Difference>,
}

/// A difference, after shrinking.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Number of the case.
    pub case: u64,
    /// The steps that lead to the difference, with the simulated kernel's result of each.
    pub steps: Vec<(Step, After)>,
    /// The other kernel's result of the last step.
    pub other: After,
    /// The error of the other target itself.
    pub error: Option<String>,
}

/// Runs until the plan is complete or a difference is found. `arm` must be the kernel that
/// `profile` simulates; `tell` is called with every step before the target makes it.
pub fn run(
    plan: Plan,
    profile: Profile,
    arm: &mut dyn Target,
    tell: &mut dyn FnMut(&Step),
) -> Report {
    let arm = &mut Other { arm, tell };
    let position = profiles().position(|known| known.name() == profile.name());
    RUNS[position.expect("every profile is listed")](plan, arm)
}

/// Returns every profile that can be the reference: the released kernels, and the proposed one.
fn profiles() -> impl Iterator<Item = Profile> {
    Profile::all().chain(Profile::by_name("rfc-v1"))
}

/// The run function of each of [`profiles`], in that order. Proptest's reference state machine is a
/// type without a value, so the profile is a parameter of the type.
const RUNS: [fn(Plan, &mut Other<'_>) -> Report; 7] =
    [run_as::<0>, run_as::<1>, run_as::<2>, run_as::<3>, run_as::<4>, run_as::<5>, run_as::<6>];

fn run_as<const PROFILE: usize>(plan: Plan, arm: &mut Other<'_>) -> Report {
    let mut report = Report::default();
    let cases = Reference::<PROFILE>::sequential_strategy(plan.steps..plan.steps + 1);
    while report.difference.is_none() && report.count() < plan.calls {
        let mut runner = runner(plan.seed, report.cases);
        let mut tree = cases.new_tree(&mut runner).expect("a case can always be made");
        if let Some(found) = differs::<PROFILE>(tree.current(), arm, Some(&mut report)) {
            let shortest = shortest::<PROFILE>(found, &mut tree, arm);
            report.difference = Some(Difference { case: report.cases, ..shortest });
        }
        report.cases += 1;
    }
    report
}

/// Shrinks a case that differs: smaller arguments first, then fewer steps, as long as it differs.
fn shortest<const PROFILE: usize>(
    mut found: Difference,
    tree: &mut impl ValueTree<Value = Case>,
    arm: &mut Other<'_>,
) -> Difference {
    let mut goes_on = tree.simplify();
    while goes_on {
        goes_on = if let Some(smaller) = differs::<PROFILE>(tree.current(), arm, None) {
            found = smaller;
            tree.simplify()
        } else {
            tree.complicate()
        };
    }
    let mut at = found.steps.len();
    while at > 0 {
        at -= 1;
        let mut fewer: Vec<Step> = found.steps.iter().map(|(step, _)| step.clone()).collect();
        fewer.remove(at);
        if let Some(shorter) = lockstep::<PROFILE>(&fewer, arm, None, None) {
            found = shorter;
            at = at.min(found.steps.len());
        }
    }
    found
}

/// The other kernel.
struct Other<'a> {
    arm: &'a mut dyn Target,
    tell: &'a mut dyn FnMut(&Step),
}

/// A case: initial state, steps, and a counter of the steps that were made.
type Case = (State, Vec<Step>, Option<Arc<AtomicUsize>>);

/// Returns the generator of a case. Each case has its own, so that it can be reproduced alone.
fn runner(seed: u64, case: u64) -> TestRunner {
    let words = [seed, case, 0, 0].map(u64::to_le_bytes);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &words.concat());
    TestRunner::new_with_rng(Config::default(), rng)
}

/// Runs a case from its beginning. Returns its first difference.
fn differs<const PROFILE: usize>(
    (start, steps, count): Case,
    arm: &mut Other<'_>,
    report: Option<&mut Report>,
) -> Option<Difference> {
    let all = [start.prologue, steps].concat();
    lockstep::<PROFILE>(&all, arm, count.as_deref(), report)
}

/// Makes the steps on both kernels, starting without processes. Returns the first difference.
fn lockstep<const PROFILE: usize>(
    steps: &[Step],
    other: &mut Other<'_>,
    count: Option<&AtomicUsize>,
    mut report: Option<&mut Report>,
) -> Option<Difference> {
    other.arm.clear();
    let mut state = State::nothing(profile::<PROFILE>());
    let mut done = Vec::new();
    for step in steps {
        if !Reference::<PROFILE>::preconditions(&state, step) {
            continue;
        }
        state = Reference::<PROFILE>::apply(state, step);
        if let Err(broken) = state.machine.audit() {
            panic!("after {step:?}: {broken}");
        }
        let expected = state.after.clone().expect("a step has been done");
        (other.tell)(step);
        let after = perform(other.arm, step, &expected);
        if let Some(report) = report.as_deref_mut() {
            report.note(step, &state);
        }
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let is_same = after == expected && other.arm.error().is_none();
        done.push((step.clone(), expected));
        if !is_same {
            let error = other.arm.error().map(str::to_owned);
            return Some(Difference { case: 0, steps: done, other: after, error });
        }
    }
    None
}

/// Returns the profile with a number.
fn profile<const PROFILE: usize>() -> Profile {
    profiles().nth(PROFILE).expect("a profile")
}

/// Makes a step on a target. A new mapping is requested at the reference's address.
fn perform(arm: &mut dyn Target, step: &Step, expected: &After) -> After {
    let answer = match step {
        Step::Call(pid, call) => {
            let place = match &expected.answer {
                Some(Ok(handoff_model::abi::call::Reply::Va(va))) => Some(*va),
                _ => None,
            };
            Some(arm.call_at(*pid, call, place))
        }
        Step::Spawn(spec) => {
            arm.spawn(*spec);
            None
        }
        Step::Fork(pid) => {
            arm.fork(*pid);
            None
        }
        Step::Kill(pid) => {
            arm.kill(*pid);
            None
        }
        Step::Exec(pid) => {
            arm.exec(*pid);
            None
        }
        Step::Pair(a, b) => {
            arm.socketpair(*a, *b);
            None
        }
    };
    let seen = expected.seen.keys().map(|pid| {
        let (vm_pin_pages, vm_lck_pages) = arm.locked(*pid);
        (*pid, ProcessObservation { vm_pin_pages, vm_lck_pages })
    });
    After { answer, seen: seen.collect() }
}

impl Report {
    /// Returns the number of all calls.
    pub fn count(&self) -> u64 {
        self.calls.values().map(|(all, _)| all).sum()
    }

    fn note(&mut self, step: &Step, state: &State) {
        let Step::Call(_, call) = step else { return };
        let (all, refused) = self.calls.entry(call.name()).or_default();
        *all += 1;
        *refused += u64::from(state.refusal.is_some());
        self.refusals.extend(state.refusal);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused: u64 = self.calls.values().map(|(_, refused)| refused).sum();
        writeln!(
            f,
            "{} calls in {} cases, {refused} of them refused by {} branches of the simulator",
            self.count(),
            self.cases,
            self.refusals.len()
        )?;
        for (name, (all, refused)) in &self.calls {
            writeln!(f, "  {all:>8}  {refused:>8} refused  {name}")?;
        }
        match &self.difference {
            None => writeln!(f, "no difference"),
            Some(difference) => difference.fmt(f),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "difference in case {}, after these steps:", self.case)?;
        for (step, after) in &self.steps {
            writeln!(f, "  {}", describe(step, after))?;
        }
        let expected = self.steps.last().map(|(_, after)| after);
        writeln!(f, "simulated: {expected:?}")?;
        writeln!(f, "other:     {:?}", self.other)?;
        self.error.iter().try_for_each(|error| writeln!(f, "error: {error}"))
    }
}

fn describe(step: &Step, after: &After) -> String {
    match (step, &after.answer) {
        (Step::Call(pid, call), Some(answer)) => {
            format!("{pid}: {}    {call:?}", text::call(call, answer, &|fd| format!("fd {fd}")))
        }
        (step, _) => format!("{step:?}"),
    }
}

/// The address of the reference's mapping, for [`Target::call_at`].
pub type Place = Option<Va>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_its_own_reference() {
        let plan = Plan { calls: 1, steps: 10, seed: 1 };
        for profile in profiles() {
            let mut same = crate::target::simulated::SimulatedTarget::new(profile);
            let report = run(plan, profile, &mut same, &mut |_| ());
            assert!(report.difference.is_none(), "{}: {report}", profile.name());
        }
        assert_eq!(RUNS.len(), profiles().count());
    }
}
