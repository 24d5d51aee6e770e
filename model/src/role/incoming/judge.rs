//! What the new process makes of each answer.

use super::adopted::Adopted;
use super::{Incoming, Origin};
use crate::abi::call::{Answer, Call, FileCall, KvmCall, ProcessCall, Reply, SocketCall};
use crate::abi::errno::Errno;
use crate::protocol::checks::Check;
use crate::protocol::phase::InPhase;
use crate::role::Trouble;
use crate::role::calls::message_of;
use crate::role::walk::Verdict;
use crate::shared::Shared;
use crate::stream::{Flaw, Message, State};
use crate::vm::blocker;

impl Incoming {
    pub(super) fn judge(&mut self, call: &Call, answer: &Answer) -> Verdict {
        match self.walk.phase {
            InPhase::AwaitOffer => self.judge_offer(message_of(answer, call)),
            InPhase::Check => self.judge_check(call, answer),
            InPhase::AwaitDescriptors => self.judge_descriptors(call, answer),
            InPhase::ReadStream => self.judge_stream(call, answer),
            InPhase::Verify => {
                match self.adopted.as_ref().map(|a| a.verify(call, answer, &self.plan.omitted)) {
                    Some(Err(trouble)) => Verdict::Trouble(trouble),
                    _ => Verdict::Next,
                }
            }
            InPhase::AwaitConfirm => match message_of(answer, call) {
                Ok(Message::Unchanged) => Verdict::Next,
                other => unexpected(other),
            },
            InPhase::AwaitCommit => match message_of(answer, call) {
                Ok(Message::Commit) => Verdict::Next,
                other => unexpected(other),
            },
            InPhase::AwaitFate => judge_fate(call, answer),
            InPhase::MapRam => {
                if let Ok(Reply::Va(va)) = answer {
                    self.mapped.push(*va);
                }
                Verdict::of(call, answer)
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
                Verdict::of(call, answer)
            }
            // Nobody may be left to hear it.
            InPhase::Refuse => Verdict::Next,
            // An eventfd may be empty.
            #[cfg(feature = "lab")]
            InPhase::DrainEvents => Verdict::Next,
            _ => Verdict::of(call, answer),
        }
    }

    fn judge_offer(&mut self, message: Result<Message, Trouble>) -> Verdict {
        match message {
            Ok(Message::Offer(offer)) => {
                self.offer = Some(offer);
                Verdict::Next
            }
            other => unexpected(other),
        }
    }

    fn judge_check(&mut self, call: &Call, answer: &Answer) -> Verdict {
        match answer {
            Ok(Reply::Memlock(limit)) => self.memlock_bytes = *limit,
            Ok(Reply::Uid(uid)) => self.uid = *uid,
            _ => return Verdict::of(call, answer),
        }
        let last = matches!(call, Call::Process(ProcessCall::GetUid));
        let Some(offer) = self.offer.as_ref().filter(|_| last) else { return Verdict::Next };
        let early = self.plan.table.rules.iter().any(|rule| rule.phase == InPhase::AwaitConfirm);
        let same = offer.early == early;
        let other = || Trouble::OtherForm { early: offer.early };
        if let Err(trouble) = self.plan.omitted.demand(Check::SameForm, same, other) {
            return Verdict::Trouble(trouble);
        }
        let judged = Some(offer).filter(|_| !self.plan.memlock_waived);
        let found = judged.and_then(|offer| {
            let same_user = offer.uid == self.uid;
            blocker::of_memlock("new", offer.user_pages, same_user, self.memlock_bytes)
        });
        let blocked = || Trouble::Blocked(found.clone().into_iter().collect());
        Verdict::from(self.plan.omitted.demand(Check::NewLimit, found.is_none(), blocked))
    }

    fn judge_descriptors(&mut self, call: &Call, answer: &Answer) -> Verdict {
        let (first, total) = match message_of(answer, call) {
            Ok(Message::Descriptors { first, total }) => (first as usize, total as usize),
            other => return unexpected(other),
        };
        let Ok(Reply::Message { fds, truncated, .. }) = answer else {
            return Verdict::of(call, answer);
        };
        let omitted = &self.plan.omitted;
        let lost = || Trouble::DescriptorsLost;
        let end = first.saturating_add(fds.len());
        let miscounted = || Trouble::from(Flaw::Count { arrived: end, listed: total });
        let checked = omitted
            .demand(Check::NoneLost, !truncated, lost)
            .and_then(|()| omitted.demand(Check::SomeArrived, !fds.is_empty(), lost))
            .and_then(|()| omitted.demand(Check::InOrder, first == self.arrived.len(), miscounted))
            .and_then(|()| omitted.demand(Check::NoneTooMany, end <= total, miscounted));
        if let Err(trouble) = checked {
            return Verdict::Trouble(trouble);
        }
        self.arrived.extend(fds);
        if self.arrived.len() == total { Verdict::Next } else { Verdict::Again }
    }

    fn judge_stream(&mut self, call: &Call, answer: &Answer) -> Verdict {
        let Ok(Reply::Bytes(bytes)) = answer else { return Verdict::of(call, answer) };
        let arrived = match self.origin {
            Origin::Transfer { .. } => Some(&self.arrived[..]),
            Origin::Exec { .. } => None,
        };
        let omitted = &self.plan.omitted;
        let adopted = State::read(bytes, omitted)
            .and_then(|state| Adopted::of(state, arrived, self.origin, &self.plan));
        match adopted {
            Ok(adopted) => {
                self.adopted = Some(Shared::new(adopted));
                self.arrived.clear();
                Verdict::Next
            }
            Err(flaw) => Verdict::Trouble(flaw.into()),
        }
    }
}

/// Whether an old process that did not take the commit lives. Told that it was not taken, one that
/// lives says Abort; it never closes before, so the end of the stream is its death.
fn judge_fate(call: &Call, answer: &Answer) -> Verdict {
    if let Call::Socket(SocketCall::Send { .. }) = call {
        return match answer {
            Err(Errno::EPIPE | Errno::ECONNRESET) => Verdict::Next,
            _ => Verdict::of(call, answer),
        };
    }
    match message_of(answer, call) {
        Err(Trouble::PeerGone) => Verdict::Next,
        Err(trouble) => Verdict::Trouble(trouble),
        Ok(_) => Verdict::Jump,
    }
}

fn unexpected(message: Result<Message, Trouble>) -> Verdict {
    Verdict::Trouble(match message {
        Ok(Message::Abort) => Trouble::Cancelled,
        Ok(message) => Trouble::Unexpected(format!("{message:?}")),
        Err(trouble) => trouble,
    })
}
