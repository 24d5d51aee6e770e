//! Calls that both roles make, and decoding of the peer's messages.

use super::failure::StepError;
use crate::abi::call::{Call, CallResult, IommufdCall, Reply, SocketCall};
use crate::abi::ids::Fd;
use crate::stream::Message;
use crate::vm::{Descriptors, Key, Kind, Vm};

/// Returns the iommufds of an inventory.
pub(crate) fn contexts<'a>(vm: &'a Vm, from: &'a Descriptors) -> impl Iterator<Item = Fd> + 'a {
    vm.contexts.iter().filter_map(|context| from.get(&Key::new(Kind::Iommufd, &context.name, 0)))
}

/// Returns the calls that make the caller the owner of every page set.
pub(crate) fn take_ownership(vm: &Vm, descriptors: &Descriptors) -> Vec<Call> {
    contexts(vm, descriptors).map(IommufdCall::change_process).collect()
}

pub(crate) fn send(socket: Fd, message: &Message, fds: Vec<Fd>) -> Call {
    SocketCall::send(socket, message.to_bytes(), fds)
}

/// Decodes the message in the answer of a `recvmsg`.
pub(crate) fn message_of(answer: &CallResult, call: &Call) -> Result<Message, StepError> {
    match answer {
        Ok(Reply::Message { bytes, .. }) if bytes.is_empty() => Err(StepError::PeerGone),
        Ok(Reply::Message { bytes, .. }) => Ok(Message::from_bytes(bytes)?),
        Ok(other) => Err(StepError::Unexpected(format!("{other:?}"))),
        Err(errno) => Err(StepError::call(call, *errno)),
    }
}
