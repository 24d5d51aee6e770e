//! The new process's evaluation of each answer.

use super::adopted::Adopted;
use super::{Incoming, IncomingTransport};
use crate::abi::call::{Call, CallResult, FileCall, KvmCall, ProcessCall, Reply, SocketCall};
use crate::abi::errno::Errno;
use crate::protocol::checks::Check;
use crate::protocol::phase::InPhase;
use crate::role::StepError;
use crate::role::calls::message_of;
use crate::role::cursor::Transition;
use crate::shared::Shared;
use crate::stream::{InvalidState, Message, State};
use crate::vm::blocker;

impl Incoming {
    pub(super) fn judge(&mut self, call: &Call, answer: &CallResult) -> Transition {
        match self.walk.phase {
            InPhase::AwaitOffer => self.judge_offer(message_of(answer, call)),
            InPhase::Check => self.judge_check(call, answer),
            InPhase::AwaitDescriptors => self.judge_descriptors(call, answer),
            InPhase::ReadStream => self.judge_stream(call, answer),
            InPhase::Verify => {
                match self.adopted.as_ref().map(|a| a.verify(call, answer, &self.plan.omitted)) {
                    Some(Err(error)) => Transition::Failed(error),
                    _ => Transition::Next,
                }
            }
            InPhase::AwaitConfirm => match message_of(answer, call) {
                Ok(Message::Unchanged) => Transition::Next,
                other => unexpected(other),
            },
            InPhase::AwaitCommit => match message_of(answer, call) {
                Ok(Message::Commit) => Transition::Next,
                other => unexpected(other),
            },
            InPhase::ResolveInDoubt => judge_fate(call, answer),
            InPhase::MapRam => {
                if let Ok(Reply::Va(va)) = answer {
                    self.mapped.push(*va);
                }
                Transition::of(call, answer)
            }
            InPhase::MakeVm => {
                match (call, answer) {
                    (Call::File(FileCall::Open { .. }), Ok(Reply::Fd(fd))) => self.kvm = Some(*fd),
                    (Call::Kvm(KvmCall::CreateVm { .. }), Ok(Reply::Fd(fd))) => {
                        self.kvm_vm = Some(*fd);
                    }
                    (Call::File(FileCall::Close { .. }), _) => self.kvm = None,
                    _ => {}
                }
                Transition::of(call, answer)
            }
            // The peer may have exited already.
            InPhase::Refuse => Transition::Next,
            // An eventfd may be empty.
            #[cfg(feature = "lab")]
            InPhase::DrainEvents => Transition::Next,
            _ => Transition::of(call, answer),
        }
    }

    fn judge_offer(&mut self, message: Result<Message, StepError>) -> Transition {
        match message {
            Ok(Message::Offer(offer)) => {
                self.offer = Some(offer);
                Transition::Next
            }
            other => unexpected(other),
        }
    }

    fn judge_check(&mut self, call: &Call, answer: &CallResult) -> Transition {
        match answer {
            Ok(Reply::Memlock(limit)) => self.memlock_bytes = *limit,
            Ok(Reply::Uid(uid)) => self.uid = *uid,
            _ => return Transition::of(call, answer),
        }
        let last = matches!(call, Call::Process(ProcessCall::GetUid));
        let Some(offer) = self.offer.as_ref().filter(|_| last) else { return Transition::Next };
        let early = self.plan.table.rules.iter().any(|rule| rule.phase == InPhase::AwaitConfirm);
        let same = offer.early == early;
        let other = || StepError::OtherForm { early: offer.early };
        if let Err(error) = self.plan.omitted.require(Check::SameForm, same, other) {
            return Transition::Failed(error);
        }
        let judged = Some(offer).filter(|_| !self.plan.memlock_waived);
        let found = judged.and_then(|offer| {
            let same_user = offer.uid == self.uid;
            blocker::of_memlock("new", offer.user_pages, same_user, self.memlock_bytes)
        });
        let blocked = || StepError::Blocked(found.clone().into_iter().collect());
        Transition::from(self.plan.omitted.require(Check::NewLimit, found.is_none(), blocked))
    }

    fn judge_descriptors(&mut self, call: &Call, answer: &CallResult) -> Transition {
        let (first, total) = match message_of(answer, call) {
            Ok(Message::Descriptors { first, total }) => (first as usize, total as usize),
            other => return unexpected(other),
        };
        let Ok(Reply::Message { fds, truncated, .. }) = answer else {
            return Transition::of(call, answer);
        };
        let omitted = &self.plan.omitted;
        let lost = || StepError::DescriptorsLost;
        let end = first.saturating_add(fds.len());
        let miscounted = || StepError::from(InvalidState::Count { arrived: end, listed: total });
        let checked = omitted
            .require(Check::NoneLost, !truncated, lost)
            .and_then(|()| omitted.require(Check::SomeArrived, !fds.is_empty(), lost))
            .and_then(|()| omitted.require(Check::InOrder, first == self.arrived.len(), miscounted))
            .and_then(|()| omitted.require(Check::NoneTooMany, end <= total, miscounted));
        if let Err(error) = checked {
            return Transition::Failed(error);
        }
        self.arrived.extend(fds);
        if self.arrived.len() == total { Transition::Next } else { Transition::Repeat }
    }

    fn judge_stream(&mut self, call: &Call, answer: &CallResult) -> Transition {
        let Ok(Reply::Bytes(bytes)) = answer else { return Transition::of(call, answer) };
        let arrived = match self.transport {
            IncomingTransport::Transfer { .. } => Some(&self.arrived[..]),
            IncomingTransport::Exec { .. } => None,
        };
        let omitted = &self.plan.omitted;
        let adopted = State::read(bytes, omitted)
            .and_then(|state| Adopted::of(state, arrived, self.transport, &self.plan));
        match adopted {
            Ok(adopted) => {
                self.adopted = Some(Shared::new(adopted));
                self.arrived.clear();
                Transition::Next
            }
            Err(flaw) => Transition::Failed(flaw.into()),
        }
    }
}

/// Finds out whether the old process, which did not accept the commit, is alive: if so, it is
/// rolling back and sends `Abort`. It never closes the socket before that, so the end of the stream
/// means that it has died.
fn judge_fate(call: &Call, answer: &CallResult) -> Transition {
    if let Call::Socket(SocketCall::Send { .. }) = call {
        return match answer {
            Err(Errno::EPIPE | Errno::ECONNRESET) => Transition::Next,
            _ => Transition::of(call, answer),
        };
    }
    match message_of(answer, call) {
        Err(StepError::PeerGone) => Transition::Next,
        Err(error) => Transition::Failed(error),
        Ok(_) => Transition::Jump,
    }
}

fn unexpected(message: Result<Message, StepError>) -> Transition {
    Transition::Failed(match message {
        Ok(Message::Abort) => StepError::Cancelled,
        Ok(message) => StepError::Unexpected(format!("{message:?}")),
        Err(error) => error,
    })
}
