//! The machine as seen from outside, exactly: builds a [`handoff_model::abi::view`].
//!
//! A view is canonical: contexts, page sets and mappings are listed in the order of their numbers,
//! and adjacent runs of pages are joined. Missing memory (unmapped addresses, a file without pages)
//! has inode 0.

use crate::fs::{File, Signal, file_ref};
use crate::iommufd::{Area, PageSet, Pin};
use crate::machine::Machine;
use crate::mm::{Mode, inode};
use crate::process::Process;
use crate::value::{ContextId, DeviceId, SetId, SmallId};
use crate::vfio::Device;
use handoff_model::abi::ids::{Fd, Iova, IovaRange, PAGE_BYTES, Pid};
use handoff_model::abi::view::{
    Account, DescriptorView, DeviceView, FileRef, GuestView, InjectedView, InterruptView,
    MappingView, PageRef, PageRun, PageSetView, ProcessView, Reach, View,
};
use std::collections::BTreeMap;
use std::ops::Range;

/// Returns the runs sorted, with adjacent ones joined.
fn joined(mut runs: Vec<PageRun>) -> Vec<PageRun> {
    runs.sort_unstable();
    runs.dedup_by(|next, last| {
        let end = PageRef { index: last.first.index + last.pages, ..last.first };
        let continues = next.first == end;
        if continues {
            last.pages += next.pages;
        }
        continues
    });
    runs
}

impl Machine {
    /// Returns everything that can be observed; no field is left unobserved.
    pub fn view(&self) -> View {
        let mut in_flight: Vec<FileRef> = self.files_in_flight().map(file_ref).collect();
        in_flight.sort_unstable();
        View {
            processes: self
                .pids()
                .map(|(pid, process)| (pid, self.view_process(pid, process)))
                .collect(),
            in_flight,
            page_sets: (self.sets().map(|(_, _, set)| self.view_set(set)))
                .chain(self.view_dma_sets())
                .collect(),
            mappings: self.view_mappings(),
            books: self.view_counters(),
            devices: (self.devices.iter().enumerate())
                .map(|(at, device)| {
                    (device.spec.name.clone(), self.view_device(DeviceId::of(at), device))
                })
                .collect(),
        }
    }

    fn view_process(&self, pid: Pid, process: &Process) -> ProcessView {
        let descriptors = process.descriptors.iter().map(|(fd, descriptor)| {
            let kind = self.file(descriptor.file).kind();
            let file = file_ref(descriptor.file);
            (*fd, DescriptorView { file, kind, cloexec: descriptor.cloexec })
        });
        let guest = process.guest.map(|guest| GuestView {
            running: guest.running,
            progress: Some(guest.progress),
            ram: self.view_ram(process),
            injected: self
                .vms_of(pid)
                .flat_map(|(_, vm)| &vm.pending)
                .map(|signal| self.view_injected(*signal))
                .collect(),
        });
        let uid = Some(process.uid);
        let vm_pin_pages = process.alive.then(|| self.vm_pin_pages(pid));
        let (alive, descriptors) = (process.alive, descriptors.collect());
        ProcessView { alive, uid, descriptors, guest, vm_pin_pages }
    }

    fn view_injected(&self, signal: Signal) -> InjectedView {
        let device = self.device(signal.device).spec.name.clone();
        InjectedView { device, vector: signal.vector, count: signal.count.into() }
    }

    /// Returns the page that a memfd has at an index now.
    pub fn page(&self, pid: Pid, memfd: Fd, index: u64) -> Option<PageRef> {
        let File::Memfd(memory) = self.file(self.usable(pid, memfd).ok()?) else { return None };
        let generation = self.memories.get(*memory).generation(index);
        Some(PageRef { inode: inode(*memory), index, generation })
    }

    fn view_ram(&self, process: &Process) -> Vec<PageRun> {
        let runs = process.vmas.iter().flat_map(|vma| {
            let runs = self.memories.get(vma.memory).runs(vma.index..vma.index + vma.pages);
            runs.into_iter().map(|(range, generation)| {
                let inode = inode(vma.memory);
                let first = PageRef { inode, index: range.start, generation };
                PageRun { first, pages: range.end - range.start }
            })
        });
        joined(runs.collect())
    }

    /// Iterates over the page sets, in the order of [`View::page_sets`].
    fn sets(&self) -> impl Iterator<Item = (ContextId, SetId, &PageSet)> {
        self.contexts
            .iter()
            .flat_map(|(context, table)| table.sets.iter().map(move |(id, set)| (context, id, set)))
    }

    fn view_set(&self, set: &PageSet) -> PageSetView {
        let account = match set.mode {
            Mode::None => None,
            Mode::User => Some(Account::User(set.owner.uid)),
            Mode::Mm => Some(Account::Process(set.owner.mm.pid)),
        };
        PageSetView {
            memory: self.view_slice(set, 0..set.pages),
            pinned_pages: set.pinned_pages(),
            charged_pages: if account.is_some() { set.charged } else { 0 },
            owner: Some(set.owner.mm.pid),
            owner_alive: Some(self.is_mm_alive(set.owner.mm)),
            account,
            awaits_address: None,
        }
    }

    /// Returns a slice of a set as one run, represented by its first page.
    fn view_slice(&self, set: &PageSet, range: Range<u64>) -> PageRun {
        let pages = range.end - range.start;
        let (pinned, unpinned) = self.slice(set, range.start..range.start + 1);
        let first = pinned.into_iter().chain(unpinned).next().map(|pin| pin.run().first);
        let nothing = PageRef { inode: 0, index: range.start, generation: 0 };
        PageRun { first: first.unwrap_or(nothing), pages }
    }

    fn view_mappings(&self) -> Vec<MappingView> {
        let numbers: BTreeMap<(ContextId, SetId), u32> =
            self.sets().map(|(context, id, _)| (context, id)).zip(0..).collect();
        let first_dma = u32::try_from(numbers.len()).expect("page sets are few");
        let areas = self.contexts.iter().flat_map(|(context, table)| {
            table.address_spaces().flat_map(move |(ioas, space)| {
                space.areas.iter().map(move |area| (context, ioas, area))
            })
        });
        areas
            .map(|(context, ioas, area)| MappingView {
                context: context.0.into(),
                ioas,
                range: area.range,
                memory: self.view_slice(self.set(context, area.set), area.indices()),
                page_set: numbers[&(context, area.set)],
            })
            .chain(self.view_dma_mappings(first_dma))
            .collect()
    }

    fn view_counters(&self) -> BTreeMap<Account, i64> {
        let users = self.books.users.iter().map(|(uid, pages)| (Account::User(*uid), *pages));
        let living = self.books.locked.iter().filter(|(mm, _)| self.is_mm_alive(**mm));
        users.chain(living.map(|(mm, pages)| (Account::Process(mm.pid), *pages))).collect()
    }

    fn view_device(&self, id: DeviceId, device: &Device) -> DeviceView {
        let holds = |process: &Process| {
            let mut files = process.descriptors.values().map(|descriptor| descriptor.file);
            files.any(|file| self.is_device_file(id, file) && self.is_bound_file(id, file))
        };
        let holders = self.pids().filter(|(_, process)| holds(process));
        DeviceView {
            attached: (self.attachment(id).map(|(context, ioas)| (context.0.into(), ioas)))
                .or_else(|| self.view_container_of(id)),
            bound: device.binding.is_some() || device.group_files > 0,
            bus_master: Some(device.is_bus_master()),
            disruptions: device.disruptions.into(),
            reach: Some(self.view_reach(id)),
            interrupts: (0..device.vectors()).map(|at| self.view_vector(id, at)).collect(),
            holders: holders.map(|(pid, _)| pid).collect(),
        }
    }

    /// Returns the memory that a device can reach.
    ///
    /// An emulated device reaches memory only through the kernel, which looks up each page. So of
    /// its areas, only the pinned pages can be reached at any time.
    fn view_reach(&self, id: DeviceId) -> Vec<Reach> {
        let emulated = self.device(id).is_emulated();
        if let Some(container) = self.container_of(id).filter(|_| !emulated) {
            return self.view_container_reach(container);
        }
        let Some((context, ioas)) = self.attachment(id) else { return Vec::new() };
        let areas = self.contexts.get(context).ioas(ioas).map(|ioas| ioas.areas.as_slice());
        let reach = areas.unwrap_or_default().iter().flat_map(|area| {
            let (pinned, unpinned) = self.behind(context, area);
            let pinned = pinned.into_iter().map(|pin| reach(area, &pin, true));
            let unpinned = unpinned.into_iter().filter(|_| !emulated);
            pinned.chain(unpinned.map(|pin| reach(area, &pin, false)))
        });
        let mut reach: Vec<Reach> = reach.collect();
        reach.sort_unstable();
        reach
    }

    fn view_vector(&self, id: DeviceId, vector: usize) -> InterruptView {
        let device = self.device(id);
        let trigger = device.trigger(vector);
        let counter = device.counter(vector);
        let pending = trigger.map_or(0, |event| self.event(event).of(id, vector));
        InterruptView {
            trigger: trigger.map(file_ref),
            raised: counter.raised.into(),
            delivered: counter.delivered.into(),
            pending,
            irqfd: trigger.and_then(|event| self.irqfd_vm(event)).map(|vm| self.vms.get(vm).mm.pid),
        }
    }
}

/// Returns the IOVA range at which pages appear in an area. Areas that devices see begin on page
/// boundaries.
fn reach(area: &Area, pin: &Pin, pinned: bool) -> Reach {
    let first = area.range.first.0 + (pin.index * PAGE_BYTES - area.start_bytes);
    let range = IovaRange { first: Iova(first), last: Iova(first + pin.pages * PAGE_BYTES - 1) };
    Reach { range, memory: pin.run(), pinned }
}
