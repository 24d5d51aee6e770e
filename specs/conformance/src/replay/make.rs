//! Makes one recorded call on the simulator: checks whether its files are known, compares the
//! answers, and marks files whose state is uncertain afterwards.

use super::files::{FileId, descriptors};
use super::ioctls::Asked;
use super::{Difference, Replay, compare, effects, is_of_devices};
use handoff_model::abi::argument::{Argument, Pointee};
use handoff_model::abi::call::{
    Access, Call, CallResult, CompletedCall, FileCall, MemoryCall, Reply,
};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::Fd;
use handoff_model::abi::request as nr;
use handoff_model::trace::Event;
use handoff_sim_kernel::Placement;

impl Replay {
    /// Makes a call on the simulator, compares its answer, and records the effects.
    pub(super) fn make(&mut self, line: usize, event: &Event, made: &CompletedCall) {
        let (files, are_known) = self.files_of(made);
        if !are_known && made.errno().is_none() {
            self.lose(made, &files);
            return self.not_followed(event);
        }
        let is_doubtful = !are_known || self.is_doubtful(made, &files);
        let simulated = self.simulate(made);
        if is_unknown(made, &simulated) {
            return self.not_modelled(event, &event.name());
        }
        let differences = compare::differences(&made.call, &made.answer, &simulated);
        let agree = differences.is_empty();
        if !agree && is_doubtful {
            self.count_not_followed(event);
        } else if is_of_devices(event) {
            self.report.of_devices.compared += 1;
        }
        if agree {
            self.report.agreeing += 1;
        } else if !is_doubtful {
            let CompletedCall { pid, call, answer: recorded } = made.clone();
            let simulated = simulated.clone();
            let differences = differences.clone();
            self.report.differ(Difference { line, pid, call, recorded, simulated, differences });
        }
        if !agree {
            self.lose(made, &files);
        }
        self.effects(event, made, &simulated);
    }

    /// Returns the known files that a call names, and true if all are known except for descriptors
    /// that are not open.
    fn files_of(&self, made: &CompletedCall) -> (Vec<FileId>, bool) {
        let named = descriptors(&made.call);
        let files: Vec<FileId> =
            named.iter().filter_map(|fd| self.files.at(made.pid, *fd)).collect();
        let are_known = files.len() == named.len() || made.errno() == Some(Errno::EBADF);
        (files, are_known)
    }

    /// Returns true if the answer may legitimately differ.
    fn is_doubtful(&self, made: &CompletedCall, files: &[FileId]) -> bool {
        files.iter().any(|file| self.files.is_doubtful(*file))
            || matches!(made.call, Call::Guest(_)) && self.lost_guests.contains(&made.pid)
            || !self.unknown_memory(made).is_empty()
    }

    /// Marks the files that a call may have changed as doubtful, because the simulator's state may
    /// differ.
    fn lose(&mut self, made: &CompletedCall, files: &[FileId]) {
        let is_reading = match &made.call {
            Call::Ioctl { ioctl, .. } => effects::is_reading(ioctl),
            call => call.access() == Access::Reads,
        };
        if is_reading {
            return;
        }
        for file in files {
            self.files.doubt(*file);
        }
        if matches!(made.call, Call::Guest(_)) {
            self.lost_guests.insert(made.pid);
        }
    }

    /// Makes the call with the numbers that the recorded kernel chose.
    fn simulate(&mut self, made: &CompletedCall) -> CallResult {
        let mut place = Placement::default();
        match (&made.answer, &made.call) {
            (Ok(Reply::Fd(fd)), _) => {
                self.vacate(made.pid, *fd);
                place.fd = Some(*fd);
            }
            (Ok(Reply::Va(va)), Call::Memory(MemoryCall::Mmap { length_bytes, .. })) => {
                self.unmap(made.pid, va.0, *length_bytes);
                place.va = Some(*va);
            }
            (Ok(Reply::Message { fds, .. }), _) => place.fds.clone_from(fds),
            _ => {}
        }
        if made.errno().is_none()
            && let Some(asked) = Asked::of(&made.call)
        {
            place.fd = self.prepare(made, &asked);
        }
        let pid = self.meet(made.pid);
        let call = if made.errno().is_none() { roomy(&made.call) } else { made.call.clone() };
        self.machine.call_placed(pid, &call, &place)
    }

    /// Prepares an ioctl that succeeded: supplies the memory that it names, and frees its new
    /// descriptor.
    fn prepare(&mut self, made: &CompletedCall, asked: &Asked) -> Option<Fd> {
        for range in self.unknown_memory(made) {
            self.supply(made.pid, asked, &range);
        }
        if asked.is(nr::IOMMU_IOAS_MAP_FILE, None) {
            let fd = Fd(asked.word(12)?.cast_signed());
            self.stretch(made.pid, fd, asked.long(16)?.saturating_add(asked.long(24)?));
        }
        let Ok(Reply::Ioctl(outcome)) = &made.answer else { return None };
        let opened = asked.opened(outcome)?;
        self.vacate(made.pid, opened);
        Some(opened)
    }
}

/// Returns a call whose buffers have the room that a recorder may have omitted. A recorder keeps at
/// most 64 KiB of a buffer, and less if its end could not be read before the kernel wrote it.
fn roomy(call: &Call) -> Call {
    const ROOM_BYTES: usize = 1 << 20;
    let mut call = call.clone();
    let asked = Asked::of(&call).and_then(|asked| asked.length());
    if let Call::Ioctl { ioctl, .. } = &mut call
        && let Argument::Structure(structure) = &mut ioctl.argument
    {
        for Pointee { bytes, .. } in &mut structure.pointees {
            let is_cut = bytes.len() == compare::KEPT_BYTES;
            let length = if is_cut { ROOM_BYTES } else { asked.unwrap_or(0).min(ROOM_BYTES) };
            bytes.resize(length.max(bytes.len()), 0);
        }
    }
    call
}

/// Returns true if the recorded kernel knows the call and the simulator does not: a test operation,
/// a device register, a file.
fn is_unknown(made: &CompletedCall, simulated: &CallResult) -> bool {
    let errno = match simulated {
        Ok(Reply::Ioctl(outcome)) => outcome.errno(),
        Ok(_) => None,
        Err(errno) => Some(*errno),
    };
    let unknown = match &made.call {
        Call::Ioctl { ioctl, .. } if ioctl.request == nr::IOMMU_TEST_CMD => Errno::EOPNOTSUPP,
        Call::Ioctl { .. } => Errno::ENOTTY,
        Call::File(FileCall::Open { .. }) => Errno::ENOENT,
        _ => return false,
    };
    errno == Some(unknown) && made.errno().is_none()
}
