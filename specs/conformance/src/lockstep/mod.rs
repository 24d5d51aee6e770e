//! Random calls by several processes, in lockstep on the simulated kernel and on another one.
//!
//! The simulated kernel is the reference: it says which steps make sense next (`generate`), and
//! what each must come back with. The other kernel is an [`Target`]. After every step the answers,
//! with all that a kernel writes back, must be equal, and so must what is seen of every process
//! ([`ProcessObservation`]). Numbers that a kernel is free to choose (addresses of mappings) the
//! other kernel is asked to choose likewise.
//!
//! The first difference ends the run. It is made as short as it can be, step by step left out, and
//! told as a story. A run is its seed: the same seed and the same kernels give the same steps.

/// A union whose members are boxed: dozens of nested unions by type take a compiler minutes.
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

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A process makes a call.
    Call(Pid, Call),
    /// A process begins, with nothing.
    Spawn(ProcessSpec),
    /// A process has a child.
    Fork(Pid),
    /// A process is killed.
    Kill(Pid),
    /// A process executes a new program.
    Exec(Pid),
    /// Two processes get the ends of a pair of sockets.
    Pair(Pid, Pid),
}

/// What a step came back with, and what is seen after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// The answer of a call.
    pub answer: Option<CallResult>,
    /// The processes that live.
    pub seen: BTreeMap<Pid, ProcessObservation>,
}

/// What is seen of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessObservation {
    /// VmPin.
    pub vm_pin_pages: i64,
    /// VmLck.
    pub vm_lck_pages: i64,
}

/// How much to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// At least so many calls, in all cases together.
    pub calls: u64,
    /// Steps of a case.
    pub steps: usize,
    /// What the run depends on.
    pub seed: u64,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Cases begun, each from nothing.
    pub cases: u64,
    /// Calls made, by name: how many there were, and how many were refused.
    pub calls: BTreeMap<&'static str, (u64, u64)>,
    /// Branches of the simulator that refused something.
    pub refusals: BTreeSet<Failure>,
    /// The first difference.
    pub difference: Option<Difference>,
}

/// A difference, as short as it could be made.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The case's number.
    pub case: u64,
    /// What led to it, with what the simulated kernel says after each.
    pub steps: Vec<(Step, After)>,
    /// What the other kernel says after the last one.
    pub other: After,
    /// What went wrong with the other kernel's processes themselves.
    pub error: Option<String>,
}

/// Runs until the plan is done or something differs. The arm is the kernel that `profile`
/// simulates; `tell` is told of every step before the arm does it.
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

/// Every profile that can be the reference: released kernels, and the one that was only proposed.
fn profiles() -> impl Iterator<Item = Profile> {
    Profile::all().chain(Profile::by_name("rfc-v1"))
}

/// A run for each of [`profiles`], in that order: proptest's reference state machine is a type
/// without a value, so the profile is a parameter of the type.
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

/// A case that differs, with smaller arguments and with steps left out as long as it differs.
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

/// Where a case begins, its steps, and how many of them were done.
type Case = (State, Vec<Step>, Option<Arc<AtomicUsize>>);

/// Every case has a generator of its own, so that it can be made again without those before it.
fn runner(seed: u64, case: u64) -> TestRunner {
    let words = [seed, case, 0, 0].map(u64::to_le_bytes);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &words.concat());
    TestRunner::new_with_rng(Config::default(), rng)
}

/// A case from its beginning; → where it first differs.
fn differs<const PROFILE: usize>(
    (start, steps, count): Case,
    arm: &mut Other<'_>,
    report: Option<&mut Report>,
) -> Option<Difference> {
    let all = [start.prologue, steps].concat();
    lockstep::<PROFILE>(&all, arm, count.as_deref(), report)
}

/// Does the steps on both, from nothing; → where they first differ.
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

/// The profile with a number.
fn profile<const PROFILE: usize>() -> Profile {
    profiles().nth(PROFILE).expect("a profile")
}

/// Does a step on an arm. A new mapping is asked for where the reference has it.
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
    /// All calls.
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
        writeln!(f, "a difference in case {}, after these steps:", self.case)?;
        for (step, after) in &self.steps {
            writeln!(f, "  {}", describe(step, after))?;
        }
        let expected = self.steps.last().map(|(_, after)| after);
        writeln!(f, "simulated: {expected:?}")?;
        writeln!(f, "other:     {:?}", self.other)?;
        self.error.iter().try_for_each(|error| writeln!(f, "trouble:   {error}"))
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

/// Where the reference has mapped something, for [`Target::call_at`].
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
