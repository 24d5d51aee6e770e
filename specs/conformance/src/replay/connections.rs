//! Unix sockets that the simulator does not model (byte streams, connected by path), as far as
//! descriptors go over them.
//!
//! Bytes are not looked at. A message with descriptors keeps its files open while it is in flight:
//! a *broker*, a simulated process of the replay's own, holds a descriptor of each. A receiver of
//! descriptors gets those of the oldest message, because a stream never joins two such messages.

use super::files::FileId;
use handoff_model::abi::ids::Fd;
use std::collections::{BTreeMap, VecDeque};

/// A descriptor in flight: the file, and the broker's descriptor; `None` where it is not known.
pub(super) type InFlightFd = Option<(FileId, Fd)>;

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    /// By wire and by the end that will receive.
    queues: Vec<[VecDeque<Vec<InFlightFd>>; 2]>,
    /// Connected and not yet accepted, by the listener's path.
    pending: BTreeMap<String, VecDeque<usize>>,
}

impl Connections {
    /// A new connection.
    pub(super) fn open(&mut self) -> usize {
        self.queues.push(Default::default());
        self.queues.len() - 1
    }

    /// Notes that somebody has connected to `path` and waits to be accepted.
    pub(super) fn connect(&mut self, path: &str, wire: usize) {
        self.pending.entry(path.to_owned()).or_default().push_back(wire);
    }

    /// The connection that is accepted next at `path`; a new one where none is known. Where a
    /// recording does not tell the path of the listener, it is the one that somebody waits at.
    pub(super) fn answer(&mut self, path: Option<&str>) -> usize {
        let mut queues = self.pending.iter_mut();
        let is_there = |known: &str| path.is_none_or(|path| path == known);
        let waiting = queues.find(|(known, queue)| is_there(known) && !queue.is_empty());
        let wire = waiting.and_then(|(_, queue)| queue.pop_front());
        wire.unwrap_or_else(|| self.open())
    }

    /// Puts a message into flight, from this end.
    pub(super) fn send(&mut self, wire: usize, end: usize, parcels: Vec<InFlightFd>) {
        self.queues[wire][1 - end].push_back(parcels);
    }

    /// The oldest message with descriptors that is on its way to this end.
    pub(super) fn receive(&mut self, wire: usize, end: usize) -> Vec<InFlightFd> {
        self.queues[wire][end].pop_front().unwrap_or_default()
    }

    /// Everything that is on its way to an end which is gone.
    pub(super) fn cut(&mut self, wire: usize, end: usize) -> Vec<InFlightFd> {
        std::mem::take(&mut self.queues[wire][end]).into_iter().flatten().collect()
    }
}
