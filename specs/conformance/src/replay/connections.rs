//! Unix sockets that the simulator does not model (byte streams, connected by path), as far as they
//! carry descriptors.
//!
//! Bytes are ignored. A message with descriptors keeps its files open while it is in flight: a
//! *broker*, a simulated process of the replay itself, holds a descriptor of each. A receiver of
//! descriptors gets those of the oldest message, because a stream never merges two messages with
//! descriptors.

use super::files::FileId;
use handoff_model::abi::ids::Fd;
use std::collections::{BTreeMap, VecDeque};

/// A descriptor in flight: the file, and the broker's descriptor; `None` if the file is unknown.
pub(super) type InFlightFd = Option<(FileId, Fd)>;

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    /// Messages in flight, by connection and receiving end.
    queues: Vec<[VecDeque<Vec<InFlightFd>>; 2]>,
    /// Connections that are not yet accepted, by the listener's path.
    pending: BTreeMap<String, VecDeque<usize>>,
}

impl Connections {
    /// Creates a connection.
    pub(super) fn open(&mut self) -> usize {
        self.queues.push(Default::default());
        self.queues.len() - 1
    }

    /// Records that a process has connected to `path` and waits to be accepted.
    pub(super) fn connect(&mut self, path: &str, wire: usize) {
        self.pending.entry(path.to_owned()).or_default().push_back(wire);
    }

    /// Returns the connection that is accepted next at `path`, or a new one if none is pending. If
    /// a recording lacks the listener's path, any pending connection is taken.
    pub(super) fn answer(&mut self, path: Option<&str>) -> usize {
        let mut queues = self.pending.iter_mut();
        let is_there = |known: &str| path.is_none_or(|path| path == known);
        let waiting = queues.find(|(known, queue)| is_there(known) && !queue.is_empty());
        let wire = waiting.and_then(|(_, queue)| queue.pop_front());
        wire.unwrap_or_else(|| self.open())
    }

    /// Sends a message from this end.
    pub(super) fn send(&mut self, wire: usize, end: usize, parcels: Vec<InFlightFd>) {
        self.queues[wire][1 - end].push_back(parcels);
    }

    /// Removes and returns the oldest message with descriptors that is in flight to this end.
    pub(super) fn receive(&mut self, wire: usize, end: usize) -> Vec<InFlightFd> {
        self.queues[wire][end].pop_front().unwrap_or_default()
    }

    /// Removes and returns all descriptors in flight to an end that was closed.
    pub(super) fn cut(&mut self, wire: usize, end: usize) -> Vec<InFlightFd> {
        std::mem::take(&mut self.queues[wire][end]).into_iter().flatten().collect()
    }
}
