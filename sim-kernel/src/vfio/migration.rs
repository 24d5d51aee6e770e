//! Migration states of a device, and the steps from one to another.
//!
//! A state is reached by steps, some of which stand between the states that were asked for; the
//! step into PRE_COPY, STOP_COPY and RESUMING gives a file. The device keeps that file too, until
//! it leaves the state: then the file is dead. ERROR is left by a reset only, and never reached
//! here.
//!
//! Mirrors `vfio_mig_get_next_state` of `drivers/vfio/vfio_main.c`.

use crate::value::FileId;

/// `enum vfio_device_mig_state` without ERROR, which is 0.
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

/// What an emulated device knows beside what a PCI device has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Migration {
    pub(super) state: State,
    /// The file of the state. Holds a reference.
    pub(crate) stream: Option<FileId>,
    /// Whether the flags of precopy information are an output (`MIG_PRECOPY_INFOv2`).
    pub(super) info_v2: bool,
    /// Whether somebody has asked GET_INFO.
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

    /// The next state on the way to another; `None` where there is no way.
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

    /// Whether a file comes with a step; `Some(true)` one to be read.
    pub(super) fn stream_of_step(self, to: Self) -> Option<bool> {
        match (self, to) {
            (State::Running, State::PreCopy)
            | (State::RunningP2p, State::PreCopyP2p)
            | (State::Stop, State::StopCopy) => Some(true),
            (State::Stop, State::Resuming) => Some(false),
            _ => None,
        }
    }

    /// Whether the file is dead after a step.
    pub(super) fn ends_stream(self, to: Self) -> bool {
        let saves = [State::PreCopy, State::PreCopyP2p, State::StopCopy];
        saves.contains(&self) && !saves.contains(&to)
    }
}
