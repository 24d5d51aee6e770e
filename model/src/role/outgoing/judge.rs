//! The old process's evaluation of each answer.

use super::{Outgoing, Snapshot};
use crate::abi::call::{
    Call, CallResult, ContainerCall, FileCall, IommufdCall, ProcessCall, Reply, SocketCall,
};
use crate::abi::errno::Errno;
use crate::abi::ids::Uid;
use crate::protocol::checks::Check;
use crate::protocol::phase::OutPhase;
use crate::protocol::{Mode, confirms};
use crate::role::StepError;
use crate::role::calls::message_of;
use crate::role::cursor::Transition;
use crate::stream::Message;
use crate::vm::blocker::{self, Blocker};

impl Outgoing {
    pub(super) fn judge(&mut self, call: &Call, answer: &CallResult) -> Transition {
        match self.walk.phase {
            OutPhase::Preflight => self.judge_preflight(call, answer),
            OutPhase::AwaitReady => match receive(call, answer) {
                Ok(Message::Ready { uid }) => self.judge_ready(uid),
                other => unexpected(other),
            },
            OutPhase::AwaitAdopted => match receive(call, answer) {
                Ok(Message::Adopted) => Transition::from(self.judge_snapshot()),
                other => unexpected(other),
            },
            OutPhase::Stop if answer.is_ok() => Transition::from(self.judge_snapshot()),
            OutPhase::AwaitPrepared => match receive(call, answer) {
                Ok(Message::Prepared) => Transition::Next,
                other => unexpected(other),
            },
            OutPhase::AwaitCommitted => match receive(call, answer) {
                Ok(Message::Committed) => Transition::Next,
                other => unexpected(other),
            },
            OutPhase::Drain => judge_drain(call, answer),
            OutPhase::TerminatePeer => match (call, answer) {
                (Call::Process(ProcessCall::Kill { .. }), Err(Errno::ESRCH)) => Transition::Next,
                (Call::Socket(SocketCall::Send { .. }), Err(errno)) if is_closed(*errno) => {
                    Transition::Next
                }
                _ => Transition::of(call, answer),
            },
            #[cfg(feature = "lab")]
            phase if phase.is_foreign() => self.judge_foreign(call, answer),
            // Until the new process has exited, it could still take the ownership: wait again.
            OutPhase::AwaitGone if answer.is_err() => Transition::Repeat,
            _ => judge_plain(call, answer),
        }
    }

    fn judge_preflight(&mut self, call: &Call, answer: &CallResult) -> Transition {
        match (call, answer) {
            (Call::Iommufd(IommufdCall::ChangeProcess { .. }), Err(Errno::EOPNOTSUPP))
            | (Call::Container(ContainerCall::CanUpdateVaddr { .. }), Ok(Reply::Flag(true))) => {}
            (Call::Iommufd(IommufdCall::ChangeProcess { .. }), Err(Errno::ENOTTY)) => {
                return self.judge_blockers([Blocker::KernelTooOld(self.probed())]);
            }
            (Call::Container(ContainerCall::CanUpdateVaddr { .. }), Ok(Reply::Flag(false))) => {
                return self.judge_blockers([Blocker::NoNewAddresses(self.probed())]);
            }
            (Call::Process(ProcessCall::GetMemlock), Ok(Reply::Memlock(limit))) => {
                self.memlock_bytes = *limit;
            }
            (Call::Process(ProcessCall::GetUid), Ok(Reply::Uid(uid))) => self.uid = *uid,
            (_, Err(errno)) => return Transition::Failed(StepError::call(call, *errno)),
            (_, Ok(_)) => return Transition::Failed(StepError::Unexpected(call.name().to_owned())),
        }
        if (self.walk.at as usize) + 1 < self.calls().len() {
            return Transition::Next;
        }
        let limit = self.memlock_blocker(true).filter(|_| self.plan.protocol.mode == Mode::Exec);
        self.judge_blockers(self.plan.blockers.iter().cloned().chain(limit))
    }

    /// Fails if an early snapshot is outdated and the table confirms early snapshots.
    fn judge_snapshot(&self) -> Result<(), StepError> {
        let holds = !(self.snapshot == Snapshot::Outdated && confirms(&self.plan.table.rules));
        self.plan.protocol.mutations.require(Check::StillSo, holds, || StepError::Outdated)
    }

    /// Returns the name of the context that the present call probes: the preflight begins with one
    /// probe for each context.
    fn probed(&self) -> String {
        self.plan.contexts[self.walk.at as usize].clone()
    }

    /// Checks that reclaiming the ownership fits this process's RLIMIT_MEMLOCK.
    fn judge_ready(&self, peer: Uid) -> Transition {
        self.judge_blockers(self.memlock_blocker(peer == self.uid))
    }

    fn judge_blockers(&self, found: impl IntoIterator<Item = Blocker>) -> Transition {
        let judged =
            |blocker: &Blocker| !self.plan.protocol.skipped_preconditions.contains(&blocker.kind());
        let blockers: Vec<_> = found.into_iter().filter(judged).collect();
        if blockers.is_empty() {
            Transition::Next
        } else {
            Transition::Failed(StepError::Blocked(blockers))
        }
    }

    fn memlock_blocker(&self, same_user: bool) -> Option<Blocker> {
        let found = blocker::of_memlock("old", self.plan.user_pages, same_user, self.memlock_bytes);
        self.plan
            .protocol
            .mutations
            .require(Check::OldLimit, found.is_none(), || found)
            .err()
            .flatten()
    }
}

fn receive(call: &Call, answer: &CallResult) -> Result<Message, StepError> {
    match message_of(answer, call)? {
        Message::Refuse { reason } => Err(StepError::Refused(reason)),
        message => Ok(message),
    }
}

/// Reads until the queue is empty; a `Committed` that was sent before the shutdown counts.
///
/// No error ends the phase, because a rollback with an unread `Committed` could leave two guests
/// running. ECONNRESET in particular precedes the packets of a peer that died with unread input.
fn judge_drain(call: &Call, answer: &CallResult) -> Transition {
    match (answer, message_of(answer, call)) {
        (_, Ok(Message::Committed)) => Transition::Jump,
        (_, Err(StepError::PeerGone)) | (Err(Errno::EAGAIN), _) => Transition::Next,
        (_, Ok(_) | Err(_)) => Transition::Repeat,
    }
}

fn judge_plain(call: &Call, answer: &CallResult) -> Transition {
    match (call, answer) {
        (Call::File(FileCall::WriteAt { bytes, .. }), Ok(Reply::Length(length)))
            if *length != bytes.len() as u64 =>
        {
            Transition::Failed(StepError::call(call, Errno::ENOSPC))
        }
        _ => Transition::of(call, answer),
    }
}

fn unexpected(message: Result<Message, StepError>) -> Transition {
    Transition::Failed(match message {
        Ok(message) => StepError::Unexpected(format!("{message:?}")),
        Err(error) => error,
    })
}

/// Returns true if a send failed because the peer has closed its end.
fn is_closed(errno: Errno) -> bool {
    matches!(errno, Errno::EPIPE | Errno::ECONNRESET)
}
