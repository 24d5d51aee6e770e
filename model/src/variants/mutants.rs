//! Mutants: protocols with one step omitted.
//!
//! A [`Mutation`] omits one step that a protocol takes for safety: a rule, the first rule of a
//! rollback, a call, the reaction to an answer, a retry, a jump, a check, or a precondition. A
//! protocol with one mutation is a mutant. Each mutant must violate a property; one that survives
//! shows redundant code or a gap in the properties.
//!
//! Mutants are not listed by hand. [`mutants`] derives them from the rules and jumps of a protocol,
//! the calls of its phases, and the enums of checks and preconditions. The roles have no branch for
//! a mutant, as for a defect ([`crate::variants::defects`]): a mutant has other rules and
//! preconditions, and calls, answers and checks go through
//! [`Mutations`](crate::protocol::mutation::Mutations), which is empty in the protocol itself.

use crate::abi::call::Call;
use crate::protocol::checks::Check;
use crate::protocol::edit::take_out;
use crate::protocol::phase::RolePhase;
use crate::protocol::{Mode, Protocol, Rule, confirms};
use crate::vm::blocker::BlockerKind;
use std::collections::BTreeSet;
use std::fmt;

/// One step that a mutant omits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutation {
    /// Omits a rule: its predecessors lead to its successor.
    Row(RolePhase),
    /// Omits the first rule of a rollback, which then begins with the second.
    Undo(RolePhase),
    /// Omits every retry of a rule's calls.
    Tries(RolePhase),
    /// Omits the jump from a phase: the answer that triggers it is treated as any other.
    Jump(RolePhase),
    /// Omits the calls with one name in a phase.
    Call(RolePhase, &'static str),
    /// Ignores failures of the calls with one name in a phase.
    Answer(RolePhase, &'static str),
    /// Omits that the old program, once executed again, continues despite failures.
    LastResort,
    /// Omits a check.
    Check(Check),
    /// Omits a precondition.
    Blocker(BlockerKind),
}

/// The name in scenarios.
impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(place) => write!(f, "row {place}"),
            Self::Undo(place) => write!(f, "undo {place}"),
            Self::Tries(place) => write!(f, "tries {place}"),
            Self::Jump(place) => write!(f, "jump {place}"),
            Self::Call(place, call) => write!(f, "call {place}: {call}"),
            Self::Answer(place, call) => write!(f, "answer {place}: {call}"),
            Self::LastResort => write!(f, "last resort"),
            Self::Check(check) => write!(f, "check {check}"),
            Self::Blocker(kind) => write!(f, "blocker {kind:?}"),
        }
    }
}

impl Protocol {
    /// Returns this protocol with a mutation applied.
    #[must_use]
    pub fn without(mut self, omission: Mutation) -> Self {
        match omission {
            Mutation::Row(RolePhase::Old(phase)) => {
                remove(&mut self.outgoing, &mut self.outgoing_jumps, phase);
            }
            Mutation::Row(RolePhase::New(phase)) => {
                remove(&mut self.incoming, &mut self.incoming_jumps, phase);
            }
            Mutation::Undo(RolePhase::Old(phase)) => skip_undo(&mut self.outgoing, phase),
            Mutation::Undo(RolePhase::New(phase)) => skip_undo(&mut self.incoming, phase),
            Mutation::Tries(RolePhase::Old(phase)) => try_once(&mut self.outgoing, phase),
            Mutation::Tries(RolePhase::New(phase)) => try_once(&mut self.incoming, phase),
            Mutation::Jump(RolePhase::Old(phase)) => {
                self.outgoing_jumps.retain(|(from, _)| *from != phase);
            }
            Mutation::Jump(RolePhase::New(phase)) => {
                self.incoming_jumps.retain(|(from, _)| *from != phase);
            }
            Mutation::Blocker(kind) => self.skipped_preconditions.push(kind),
            Mutation::Check(check) => self.mutations.checks.push(check),
            Mutation::Call(place, call) => self.mutations.calls.push((place, call)),
            Mutation::Answer(place, call) => self.mutations.answers.push((place, call)),
            Mutation::LastResort => self.mutations.last_resort = true,
        }
        self
    }
}

fn follows<P: Copy + PartialEq>(rules: &[Rule<P>], phase: P) -> P {
    rules.iter().find(|rule| rule.phase == phase).map_or(phase, |rule| rule.next)
}

fn remove<P: Copy + PartialEq>(rules: &mut Vec<Rule<P>>, jumps: &mut [(P, P)], phase: P) {
    let Some(row) = take_out(rules, phase) else { return };
    jumps.iter_mut().filter(|(_, to)| *to == phase).for_each(|(_, to)| *to = row.next);
}

fn skip_undo<P: Copy + PartialEq>(rules: &mut [Rule<P>], phase: P) {
    let undo = rules.iter().find(|rule| rule.phase == phase).and_then(|rule| rule.undo);
    let after = undo.map(|undo| follows(rules, undo));
    rules.iter_mut().filter(|rule| rule.phase == phase).for_each(|rule| rule.undo = after);
}

fn try_once<P: Copy + PartialEq>(rules: &mut [Rule<P>], phase: P) {
    rules.iter_mut().filter(|rule| rule.phase == phase).for_each(|rule| rule.tries = 1);
}

/// Returns every mutation of a protocol. `made` are the calls of its phases; `can_fail`
/// returns true if a call can fail.
pub fn mutants(
    protocol: &Protocol,
    made: &[(RolePhase, Call)],
    can_fail: impl Fn(&Call) -> bool,
) -> Vec<Mutation> {
    let (old, new) = (Row::all(&protocol.outgoing), Row::all(&protocol.incoming));
    let rows = || old.iter().chain(&new);
    let calls: BTreeSet<_> = (made.iter())
        .filter(|(place, _)| rows().any(|row| row.place == *place))
        .map(|(place, call)| (*place, call.name(), can_fail(call)))
        .collect();
    let of = |place: RolePhase| calls.iter().filter(move |(of, ..)| *of == place);
    let is_made = |row: &&Row| of(row.place).next().is_some();
    let can_be_tried = |row: &&Row| of(row.place).any(|(.., can_fail)| *can_fail);
    let jumps = protocol.outgoing_jumps.iter().map(|(from, _)| RolePhase::from(*from));
    let jumps = jumps.chain(protocol.incoming_jumps.iter().map(|(from, _)| RolePhase::from(*from)));
    let jumps = jumps.filter(|from| rows().any(|row| row.place == *from));

    let mut all: Vec<_> = rows().filter(is_made).map(|row| Mutation::Row(row.place)).collect();
    all.extend(rows().filter(|row| row.has_undo).map(|row| Mutation::Undo(row.place)));
    let again = rows().filter(|row| row.tries > 1).filter(can_be_tried);
    all.extend(again.map(|row| Mutation::Tries(row.place)));
    all.extend(jumps.map(Mutation::Jump));
    // Omitting the only calls of a phase equals omitting its rule.
    let several = calls.iter().filter(|(place, ..)| of(*place).count() > 1);
    all.extend(several.map(|(place, call, _)| Mutation::Call(*place, call)));
    let judged = calls.iter().filter(|(.., can_fail)| *can_fail);
    all.extend(judged.map(|(place, call, _)| Mutation::Answer(*place, call)));
    all.extend((protocol.mode == Mode::Exec).then_some(Mutation::LastResort));
    let checks = Check::ALL.iter().filter(|check| is_asked(**check, protocol));
    all.extend(checks.map(|check| Mutation::Check(*check)));
    let kinds = BlockerKind::ALL.iter().filter(|kind| kind.is_of_iommufd());
    all.extend(kinds.map(|kind| Mutation::Blocker(*kind)));
    all
}

/// Returns true if a protocol makes a check. By `execve` there is no peer and no descriptor
/// arrives; a snapshot that is taken after the stop cannot be outdated.
fn is_asked(check: Check, protocol: &Protocol) -> bool {
    let is_early = confirms(&protocol.outgoing);
    let by_transfer = matches!(
        check,
        Check::PeerThere
            | Check::NotRefused
            | Check::Due
            | Check::SameForm
            | Check::NewLimit
            | Check::NoneLost
            | Check::SomeArrived
            | Check::InOrder
            | Check::NoneTooMany
            | Check::AsListed
    );
    let may_be_made = protocol.mode == Mode::Transfer || !by_transfer;
    may_be_made && (is_early || check != Check::StillSo)
}

/// The parts of a rule from which its mutants are derived.
struct Row {
    place: RolePhase,
    /// True if the table has a rule that undoes this one.
    has_undo: bool,
    tries: u8,
}

impl Row {
    fn all<P: Copy + PartialEq + Into<RolePhase>>(rules: &[Rule<P>]) -> Vec<Self> {
        let is_row = |phase: P| rules.iter().any(|rule| rule.phase == phase);
        let of = |rule: &Rule<P>| Self {
            place: rule.phase.into(),
            has_undo: rule.undo.is_some_and(is_row),
            tries: rule.tries,
        };
        rules.iter().map(of).collect()
    }
}
