//! Migration states of a device, and the transitions between them.
//!
//! A device reaches a requested state by single steps, possibly through states in between. The step
//! into PRE_COPY, STOP_COPY or RESUMING returns a file. The device also keeps this file, until it
//! leaves the state; then the file is dead. Only a reset leaves ERROR, and no device here enters
//! it.
//!
//! Mirrors `vfio_mig_get_next_state` of `drivers/vfio/vfio_main.c`.

use crate::value::FileId;

/// A migration state: `enum vfio_device_mig_state` without ERROR, which is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum State {
    Stop = 1,
    #[default]
    Running,
    StopCopy,
    Resuming,
    RunningP2p,
    PreCopy,
    PreCopyP2p,
}

/// State that an emulated device has in addition to that of a PCI device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Migration {
    pub(super) state: State,
    /// The data file of the migration state. Holds a reference.
    pub(crate) stream: Option<FileId>,
    /// True if the flags of the precopy information are an output (`MIG_PRECOPY_INFOv2`).
    pub(super) info_v2: bool,
    /// True if GET_INFO was ever called.
    pub(super) is_known: bool,
}

impl State {
    pub(super) const ALL: [Self; 7] = [
        Self::Stop,
        Self::Running,
        Self::StopCopy,
        Self::Resuming,
        Self::RunningP2p,
        Self::PreCopy,
        Self::PreCopyP2p,
    ];

    /// Returns the next state on the path to `wanted`; `None` if there is no path.
    pub(super) fn toward(self, wanted: Self) -> Option<Self> {
        use State::{PreCopy, PreCopyP2p, Resuming, Running, RunningP2p, Stop, StopCopy};
        Some(match (self, wanted) {
            (StopCopy, PreCopy | PreCopyP2p) => return None,
            (Stop, StopCopy | Resuming)
            | (Running, PreCopy)
            | (RunningP2p, Running)
            | (PreCopyP2p, PreCopy | StopCopy)
            | (RunningP2p | PreCopy, PreCopyP2p) => wanted,
            (PreCopy, StopCopy) => PreCopyP2p,
            (PreCopy, _) | (RunningP2p, PreCopy) => Running,
            (Stop | Running | PreCopyP2p, _) => RunningP2p,
            (StopCopy | Resuming | RunningP2p, _) => Stop,
        })
    }

    /// Returns `Some(true)` if a step creates a file to read, `Some(false)` if one to write.
    pub(super) fn stream_of_step(self, to: Self) -> Option<bool> {
        match (self, to) {
            (State::Running, State::PreCopy)
            | (State::RunningP2p, State::PreCopyP2p)
            | (State::Stop, State::StopCopy) => Some(true),
            (State::Stop, State::Resuming) => Some(false),
            _ => None,
        }
    }

    /// Returns true if a step makes the file dead.
    pub(super) fn ends_stream(self, to: Self) -> bool {
        let saves = [State::PreCopy, State::PreCopyP2p, State::StopCopy];
        saves.contains(&self) && !saves.contains(&to)
    }
}
