//! Migration of an emulated device: its state, and the data files of that state.
//!
//! A request whose step fails leaves the device in the state that the earlier steps reached.
//!
//! The state belongs to the device, not to its open file: a close keeps it, except for the data
//! files.
//!
//! Absent: the contents of the data files. They are neither read nor written, so a resume never
//! completes.
//!
//! Mirrors the migration of `samples/vfio-mdev/mtty.c`.

use crate::fs::{File, MigrationFile};
use crate::machine::Machine;
use crate::syscall::{Fields, Request, SyscallResult, fail};
use crate::value::{DeviceId, FileId};
use crate::vfio::feature::{Feature, GET, SET};
use crate::vfio::mdev::dma_logging;
use crate::vfio::migration::State;
use crate::vfio::sized;
use handoff_model::abi::errno::Errno;
use std::mem::{offset_of, size_of};
use vfio_bindings::bindings::vfio;

/// `VFIO_MIGRATION_STOP_COPY | _P2P | _PRE_COPY`.
const FLAGS: u64 = 7;

/// `VFIO_MIG_GET_PRECOPY_INFO`.
const GET_PRECOPY_INFO: u32 = 0x3b00 | (vfio::VFIO_BASE + 21);

/// Size of `struct mtty_data` in bytes: its header, and the structure with one port.
const HEADER_BYTES: u64 = 24;
const DATA_BYTES: u64 = HEADER_BYTES + 36;

/// Reports the supported states (`vfio_ioctl_device_feature_migration`).
fn report_flags(feature: &mut Feature<'_>) -> SyscallResult<()> {
    tell(feature, FLAGS)
}

/// Reports the data size (`vfio_ioctl_device_feature_migration_data_size`).
fn report_size(feature: &mut Feature<'_>) -> SyscallResult<()> {
    tell(feature, DATA_BYTES)
}

fn tell(feature: &mut Feature<'_>, value: u64) -> SyscallResult<()> {
    if feature.check(GET, size_of::<u64>())? {
        feature.tell(&value.to_ne_bytes())?;
    }
    Ok(())
}

impl Machine {
    /// Handles the core features that an emulated device implements. Fails with `ENOTTY` for all
    /// others.
    pub(in crate::vfio) fn mtty_feature(
        &mut self,
        id: DeviceId,
        which: u32,
        feature: &mut Feature<'_>,
    ) -> SyscallResult<()> {
        match which {
            vfio::VFIO_DEVICE_FEATURE_MIGRATION => report_flags(feature),
            vfio::VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE => self.migration_state(id, feature),
            vfio::VFIO_DEVICE_FEATURE_MIG_DATA_SIZE => report_size(feature),
            vfio::VFIO_DEVICE_FEATURE_DMA_LOGGING_START => dma_logging::start(feature),
            vfio::VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP => feature.check(SET, 0).map(drop),
            vfio::VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT => dma_logging::report(feature),
            vfio::VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 if self.profile.has_precopy_info_v2() => {
                self.precopy_info_v2(id, feature)
            }
            _ => Err(fail(Errno::ENOTTY)),
        }
    }

    /// Selects version 2 of the precopy information
    /// (`vfio_ioctl_device_feature_migration_precopy_info_v2`).
    fn precopy_info_v2(&mut self, id: DeviceId, feature: &Feature<'_>) -> SyscallResult<()> {
        if feature.check(SET, 0)? {
            self.device_mut(id).migration.info_v2 = true;
        }
        Ok(())
    }

    /// Reads or sets the migration state (`vfio_ioctl_device_feature_mig_device_state`). Reports
    /// the file as -1 if there is none, and also if a step fails.
    ///
    /// # Errors
    /// `EFAULT`; `EINVAL` (unknown state, no path, resume not complete); `EMFILE`.
    fn migration_state(&mut self, id: DeviceId, feature: &mut Feature<'_>) -> SyscallResult<()> {
        const FD: usize = offset_of!(vfio::vfio_device_feature_mig_state, data_fd);
        const SIZE: usize = size_of::<vfio::vfio_device_feature_mig_state>();
        if !feature.check(GET | SET, SIZE)? {
            return Ok(());
        }
        let mut state = feature.data(SIZE)?;
        let stream = if feature.sets() {
            self.set_migration_state(id, state.u32(0))
        } else {
            state.set_u32(0, self.device(id).migration.state as u32);
            Ok(None)
        };
        if let Ok(Some(stream)) = stream {
            return self.report_stream(feature, &mut state, stream);
        }
        state.set_u32(FD, u32::MAX);
        feature.tell(&state.0)?;
        stream.map(drop)
    }

    /// Returns the file's descriptor to the caller (`vfio_ioct_mig_return_fd`).
    fn report_stream(
        &mut self,
        feature: &mut Feature<'_>,
        state: &mut Fields,
        stream: FileId,
    ) -> SyscallResult<()> {
        let fd = self.install(feature.pid, stream, feature.place.fd)?;
        state.set_u32(
            offset_of!(vfio::vfio_device_feature_mig_state, data_fd),
            fd.0.cast_unsigned(),
        );
        let told = feature.tell(&state.0);
        if told.is_err() {
            self.close_descriptor(feature.pid, fd);
        }
        told
    }

    /// Changes the state step by step (`mtty_set_state`). Returns the file, if the last step
    /// created one.
    fn set_migration_state(&mut self, id: DeviceId, wanted: u32) -> SyscallResult<Option<FileId>> {
        let wanted = State::ALL.into_iter().find(|state| *state as u32 == wanted);
        let wanted = wanted.ok_or(fail(Errno::EINVAL))?;
        let mut stream = None;
        while self.device(id).migration.state != wanted {
            let now = self.device(id).migration.state;
            let next = now.toward(wanted).ok_or(fail(Errno::EINVAL))?;
            stream = self.step_migration(id, now, next)?;
        }
        Ok(stream)
    }

    /// Makes one step (`mtty_step_state`). Fails with `EINVAL` on leaving RESUMING, because the
    /// data is never complete.
    fn step_migration(
        &mut self,
        id: DeviceId,
        now: State,
        next: State,
    ) -> SyscallResult<Option<FileId>> {
        if now == State::Resuming {
            return Err(fail(Errno::EINVAL));
        }
        if now.ends_stream(next) {
            self.end_stream(id);
        }
        let made = now
            .stream_of_step(next)
            .map(|saves| self.new_file(File::Migration(MigrationFile { device: id, saves })));
        let migration = &mut self.device_mut(id).migration;
        migration.state = next;
        migration.stream = made.or(migration.stream);
        Ok(made)
    }

    /// Makes the current file dead (`mtty_disable_files`).
    fn end_stream(&mut self, id: DeviceId) {
        if self.device(id).migration.stream.is_some() {
            let stream = self.device_mut(id).migration.stream.take();
            self.exchange(stream, None);
        }
    }

    /// Resets the migration state (`mtty_reset`).
    pub(super) fn reset_migration(&mut self, id: DeviceId) {
        self.end_stream(id);
        self.device_mut(id).migration.state = State::Running;
    }

    /// Drops the files at the last close; the state remains.
    pub(in crate::vfio) fn close_migration(&mut self, id: DeviceId) {
        self.end_stream(id);
        self.device_mut(id).migration.info_v2 = false;
    }

    /// Handles an ioctl on a data file (`mtty_precopy_ioctl`).
    ///
    /// # Errors
    /// `ENOTTY` for a file that is written to the device, and for another request; `EFAULT`;
    /// `EINVAL` (size, state); `ENODEV` for a dead file.
    pub(crate) fn precopy_ioctl(
        &mut self,
        of: MigrationFile,
        request: &mut Request<'_>,
    ) -> SyscallResult<u32> {
        if !of.saves || request.number != GET_PRECOPY_INFO {
            return Err(fail(Errno::ENOTTY));
        }
        let mut info = sized(request, size_of::<vfio::vfio_precopy_info>())?;
        let migration = self.device(of.device).migration;
        if ![State::PreCopy, State::PreCopyP2p].contains(&migration.state) {
            return Err(fail(Errno::EINVAL));
        }
        if migration.stream != Some(request.file) {
            return Err(fail(Errno::ENODEV));
        }
        if migration.info_v2 {
            info.set_u32(offset_of!(vfio::vfio_precopy_info, flags), 0);
        }
        info.set_u64(offset_of!(vfio::vfio_precopy_info, initial_bytes), HEADER_BYTES);
        info.set_u64(offset_of!(vfio::vfio_precopy_info, dirty_bytes), 0);
        request.user.write(0, &info.0).map(|()| 0)
    }
}
