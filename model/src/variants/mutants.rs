//! The protocol with one thing left out.
//!
//! Whatever a protocol does for safety it could also not do: go through a row, begin a way back
//! with its first row, make a call, mind the answer, try again, take a jump, check what it is told,
//! judge a precondition. An [`Mutation`] is one such thing not done, and a protocol with one is a
//! mutant. What no mutant breaks is not needed, or not looked at; so each of them must violate a
//! property.
//!
//! There is no list of mutants. They follow from what a protocol is made of: its rows and jumps,
//! the calls of their phases, and the enums of checks and preconditions ([`mutants`]). As with a
//! known bug ([`crate::variants::defects`]) the roles have no branch for one: rows and
//! preconditions are other rows and preconditions, and calls, answers and checks go through
//! [`Mutations`](crate::protocol::mutation::Mutations), which in the protocol itself is empty.

use crate::abi::call::Call;
use crate::protocol::checks::Check;
use crate::protocol::edit::take_out;
use crate::protocol::phase::RolePhase;
use crate::protocol::{Mode, Protocol, Rule, confirms};
use crate::vm::blocker::BlockerKind;
use std::collections::BTreeSet;
use std::fmt;

/// One thing that a protocol does, and a mutant does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutation {
    /// A row: what leads to it leads to what follows it.
    Row(RolePhase),
    /// The first row of the way back from a row, which begins with the next one.
    Undo(RolePhase),
    /// Every try of a row's calls but the first.
    Tries(RolePhase),
    /// Where an answer leads besides: it counts as any other.
    Jump(RolePhase),
    /// The calls of one name in a phase.
    Call(RolePhase, &'static str),
    /// What is made of their answers: whatever comes, it goes on.
    Answer(RolePhase, &'static str),
    /// That the old program, executed again, goes on whatever happens.
    LastResort,
    /// A check.
    Check(Check),
    /// A precondition.
    Blocker(BlockerKind),
}

/// What scenarios call it.
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
    /// This protocol without something.
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

/// Everything that a protocol does and could leave out. `made`: the calls of its phases;
/// `can_fail`: whether one can be refused.
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
    // The only calls of a phase are its row.
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

/// Whether a protocol asks a check: by `execve` there is no other process, and nothing arrives;
/// what is cut when the guest is stopped is still so.
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

/// What of a row matters to its mutants.
struct Row {
    place: RolePhase,
    /// There is a row that undoes it.
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
