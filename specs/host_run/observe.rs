//! A process's observation of the host: the view on which properties are evaluated.
//!
//! [`observe`] numbers open files in arbitrary order. Here they are numbered by their purpose, so
//! that a view of the old process before the handoff and one of the new process after it are
//! comparable: file *n* is the one behind the *n*-th descriptor of the inventory, in any process.

use super::run_dir::HostObservation;
use handoff_model::abi::ids::{Fd, Pid};
use handoff_model::abi::view::{FileRef, View};
use handoff_model::vm::{ChargedTo, Descriptors, Vm};
use handoff_real_backend::observe::{
    Expectation, KnownDevice, KnownInterrupt, observe, pinned_pages,
};
use handoff_real_backend::sysfs::Bdf;
use handoff_testbed::guest::TestGuest;
use handoff_testbed::workload::{Fault, Progress};
use std::collections::BTreeMap;

/// The processes and devices to observe.
pub(super) struct Observer<'a> {
    pub(super) pids: &'a [Pid],
    pub(super) vm: &'a Vm,
    pub(super) descriptors: &'a Descriptors,
    pub(super) guest: &'a TestGuest,
    pub(super) devices: &'a [Bdf],
}

/// Observes the host. The caller must be the process that has the guest.
pub(super) fn look(sight: &Observer<'_>) -> HostObservation {
    let pid = Pid(std::process::id());
    let guests = sight.guest.view().map(|view| (pid, view)).into_iter().collect();
    let mut observed = observe(sight.pids, &Expectation { devices: known_devices(sight), guests });
    renumber(&mut observed.view, pid, sight);
    HostObservation {
        pid: pid.0,
        pinned_pages: pins(sight.vm).0,
        expected_pages: pins(sight.vm).1,
        view: observed.view,
        blind: observed.blind.iter().map(|blind| format!("{blind:?}")).collect(),
    }
}

/// VmPin of the calling process, and the expected value, in pages.
pub(super) fn pins(vm: &Vm) -> (i64, Option<i64>) {
    (pinned_pages(Pid(std::process::id())).unwrap_or(-1), expected_pages(vm))
}

/// The expected VmPin. `None` if no account is charged, because VmPin moves with the ownership only
/// of charged pages.
fn expected_pages(vm: &Vm) -> Option<i64> {
    let charged = vm.charged_pages(ChargedTo::User) + vm.charged_pages(ChargedTo::Process);
    (charged > 0).then(|| charged.cast_signed())
}

fn known_devices(sight: &Observer<'_>) -> BTreeMap<String, KnownDevice> {
    let progress = sight.guest.progress();
    let devices = sight.vm.devices.iter().zip(sight.devices).zip(&progress);
    let known = devices.map(|((device, bdf), progress)| {
        let interrupts = device.interrupt_keys().filter_map(|(_, key)| {
            let trigger =
                handoff_real_backend::descriptors::own(sight.descriptors.get(&key)?).ok()?;
            let (raised, delivered) = (progress.raised, progress.delivered);
            Some(KnownInterrupt { trigger: trigger.identity, raised, delivered })
        });
        let known = KnownDevice {
            bdf: *bdf,
            attached: Some((u32::from(device.context), device.ioas)),
            upsets: upsets(progress),
            interrupts: interrupts.collect(),
        };
        (device.name.clone(), known)
    });
    known.collect()
}

fn upsets(progress: &Progress) -> u32 {
    let gone = progress.faults.iter().filter(|fault| matches!(fault, Fault::MarkerGone));
    u32::try_from(gone.count()).unwrap_or(u32::MAX)
}

/// Numbers the files of the inventory in its order, and all others above them.
fn renumber(view: &mut View, pid: Pid, sight: &Observer<'_>) {
    let table =
        view.processes.get(&pid).map(|process| process.descriptors.clone()).unwrap_or_default();
    let fds = sight.vm.keys().into_iter().map(|key| sight.descriptors.get(&key).unwrap_or(Fd(-1)));
    let listed =
        (0..).zip(fds).filter_map(|(place, fd)| Some((table.get(&fd)?.file, FileRef(place))));
    // If two entries name one file, the first one counts, and the second one is reported missing.
    let mut names: BTreeMap<FileRef, FileRef> = BTreeMap::new();
    listed.for_each(|(file, name)| {
        names.entry(file).or_insert(name);
    });
    let rename = |file: FileRef| names.get(&file).copied().unwrap_or(FileRef(file.0 + 100_000));
    for process in view.processes.values_mut() {
        process.descriptors.values_mut().for_each(|d| d.file = rename(d.file));
    }
    for device in view.devices.values_mut() {
        for interrupt in &mut device.interrupts {
            interrupt.trigger = interrupt.trigger.map(rename);
        }
    }
}
