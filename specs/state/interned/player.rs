//! Interned participants: cached facts about each, and its successor for each result of a call.

use super::{CallId, Interners, ResultId};
use crate::state::parts::{Participation, Player};
use handoff_checker::intern::{InternId, Interner};
use handoff_checker::memo::Memo;
use handoff_model::protocol::measure::ProgressMeasure;
use handoff_model::role::incoming::Incoming;
use handoff_model::role::outgoing::Outgoing;
use handoff_model::role::{Cause, Role, StepError};
use handoff_model::vm::{Descriptors, Vm};
use std::borrow::Borrow;
use std::hash::Hash;
use std::marker::PhantomData;

/// Facts about a participant.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct PlayerEntry<R: Role> {
    is_absent: bool,
    is_acting: bool,
    ended: Option<R::End>,
    phase: Option<R::Phase>,
    end: Option<R::End>,
    cause: Option<Cause>,
    next: Option<InternId>,
    can_cancel: bool,
    can_change: bool,
    left: Option<ProgressMeasure>,
    /// Its successor for each result of its call.
    took: Memo<InternId, InternId>,
}

/// The participants in a role.
pub(super) type Players<R> = Interner<Participation<R, <R as Role>::End>, PlayerEntry<R>>;

impl Interners<'_> {
    pub(super) fn player<R: InternedRole>(&self, part: Participation<R, R::End>) -> InternId {
        R::among(self).number(part, |part| PlayerEntry {
            is_absent: part.is_absent(),
            is_acting: part.is_acting(),
            ended: part.ended(),
            phase: part.phase(),
            end: part.end(),
            cause: part.cause(),
            next: part.next().map(|call| self.calls.number(call, |_| ())),
            can_cancel: part.can_cancel(),
            can_change: part.can_change(),
            left: part.left(),
            took: Memo::default(),
        })
    }
}

/// A role whose participants are interned.
pub(crate) trait InternedRole: Role + Clone + Eq + Hash {
    #[expect(private_interfaces, reason = "only this folder looks inside")]
    fn among<'n>(all: &'n Interners<'_>) -> &'n Players<Self>;
}

impl InternedRole for Outgoing {
    #[expect(private_interfaces, reason = "only this folder looks inside")]
    fn among<'n>(all: &'n Interners<'_>) -> &'n Players<Self> {
        &all.outgoing
    }
}

impl InternedRole for Incoming {
    #[expect(private_interfaces, reason = "only this folder looks inside")]
    fn among<'n>(all: &'n Interners<'_>) -> &'n Players<Self> {
        &all.incoming
    }
}

/// An interned participant.
pub(crate) struct PlayerId<'n, R: Role> {
    pub(super) all: &'n Interners<'n>,
    pub(super) number: InternId,
    pub(super) role: PhantomData<R>,
}

impl<R: InternedRole> PlayerId<'_, R> {
    fn facts(&self) -> &PlayerEntry<R> {
        R::among(self.all).facts(self.number)
    }

    fn part(&self) -> &Participation<R, R::End> {
        R::among(self.all).get(self.number)
    }
}

impl<'n, R: InternedRole> Player for PlayerId<'n, R> {
    type Role = R;
    type Call = CallId<'n>;
    type Answer = ResultId<'n>;

    fn is_absent(&self) -> bool {
        self.facts().is_absent
    }

    fn is_acting(&self) -> bool {
        self.facts().is_acting
    }

    fn ended(&self) -> Option<R::End> {
        self.facts().ended
    }

    fn phase(&self) -> Option<R::Phase> {
        self.facts().phase
    }

    fn end(&self) -> Option<R::End> {
        self.facts().end
    }

    fn cause(&self) -> Option<Cause> {
        self.facts().cause
    }

    fn next(&self) -> Option<CallId<'n>> {
        self.facts().next.map(|call| CallId(self.all, call))
    }

    fn left(&self) -> Option<ProgressMeasure> {
        self.facts().left
    }

    fn is_done(&self) -> bool {
        self.facts().is_acting && self.facts().next.is_none()
    }

    fn took(&mut self, answer: &ResultId<'n>) -> Option<StepError> {
        let took = &R::among(self.all).facts(self.number).took;
        self.number = took.get(&answer.1).unwrap_or_else(|| {
            let mut part = self.part().clone();
            let _ = part.took(answer.borrow());
            let next = self.all.player(part);
            took.add(answer.1, next);
            next
        });
        None
    }

    fn can_cancel(&self) -> bool {
        self.facts().can_cancel
    }

    fn cancel(&mut self) -> Option<StepError> {
        let mut next = self.part().clone();
        let _ = next.cancel();
        self.set(next);
        None
    }

    fn can_change(&self) -> bool {
        self.facts().can_change
    }

    fn change(&mut self, vm: &Vm, descriptors: &Descriptors) -> bool {
        let mut next = self.part().clone();
        let outdated = next.change(vm, descriptors);
        self.set(next);
        outdated
    }

    fn set(&mut self, part: Participation<R, R::End>) {
        self.number = self.all.player(part);
    }
}
