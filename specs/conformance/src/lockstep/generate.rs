//! What may happen next: steps that collide.
//!
//! Descriptors are mostly those that the process has, of the kind that a call wants; objects mostly those that
//! were told of; addresses and lengths mostly those of areas that are mapped, at their ends, one page or half a
//! page off. Sometimes everything is anything, and sometimes a structure is sent with one field of it spoiled.

use super::Step;
use super::spoil::{automatic, raw, spoil, spoils};
use super::state::{BASE, Known, State, spec};
use handoff_model::abi::argument::Pointee;
use handoff_model::abi::call::{
    Call, DeviceCall, FileCall, IommufdCall, MemoryCall, ProcessCall, Rights, SocketCall,
};
use handoff_model::abi::ids::{Fd, Iova, IovaRange, ObjectId, PAGE_BYTES, Pid, Uid, Va};
use handoff_model::abi::request as nr;
use handoff_model::abi::view::{FileKind, View};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, Union};
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) type Calls = BoxedStrategy<Call>;

/// The next step.
pub(super) fn step(state: &State) -> BoxedStrategy<Step> {
    let alive = state.alive();
    if alive.is_empty() {
        return spec().prop_map(Step::Spawn).boxed();
    }
    if state.is_stuck {
        return select(alive)
            .prop_map(|pid| Step::Call(pid, Call::Process(ProcessCall::GetUid)))
            .boxed();
    }
    let view = state.machine.view();
    // What is not chosen is not made: a case has hundreds of steps, and each has dozens of sorts.
    let callers: Vec<_> =
        alive.iter().map(|pid| (*pid, Arc::new(Caller::new(state, &view, *pid)))).collect();
    let weighted = callers.into_iter().map(|(pid, by)| (by.weight(), Just((pid, by))));
    let sorts = SORTS.iter().map(|(weight, sort)| (*weight, Just(*sort)));
    let calls = (Union::new_weighted(weighted.collect()), Union::new_weighted(sorts.collect()))
        .prop_flat_map(|((pid, by), sort)| {
            let spoiled = prop::option::weighted(0.07, (any::<prop::sample::Index>(), spoils()));
            (sort(&by), spoiled).prop_map(move |(call, spoiled)| {
                let worse = spoiled.and_then(|(at, how)| spoil(&call, at, how));
                Step::Call(pid, worse.unwrap_or(call))
            })
        });
    let pid = select(alive.clone());
    one_of![
        240 => calls,
        2 => spec().prop_map(Step::Spawn),
        4 => pid.clone().prop_map(Step::Fork),
        2 => pid.clone().prop_map(Step::Kill),
        1 => pid.clone().prop_map(Step::Exec),
        4 => (pid.clone(), pid).prop_map(|(a, b)| Step::Pair(a, b)),
    ]
    .boxed()
}

/// Calls of one sort that a process may make.
type Sort = fn(&Caller) -> Calls;

/// Sorts of calls, and how often they come.
const SORTS: &[(u32, Sort)] = &[
    (10, Caller::file_call),
    (8, Caller::memory_call),
    (44, Caller::ioas_call),
    (12, Caller::object_call),
    (14, Caller::device_call),
    (14, Caller::mock_call),
    (3, Caller::process_call),
];

/// What a process may refer to.
#[derive(Debug)]
pub(super) struct Caller {
    descriptors: Vec<(Fd, FileKind)>,
    /// Address spaces, by a descriptor of their context.
    pub(super) spaces: Vec<(Fd, ObjectId)>,
    /// Other objects, likewise.
    pub(super) others: Vec<(Fd, ObjectId)>,
    /// Bound devices, and address spaces of their contexts.
    attachable: Vec<(Fd, ObjectId)>,
    areas: Vec<(ObjectId, IovaRange)>,
    mappings: Vec<(Va, u64)>,
    /// Whether there is a bound device, and whether there is a mock one.
    pub(super) has_real: bool,
    has_mock: bool,
    device_paths: Vec<String>,
}

impl Caller {
    fn new(state: &State, view: &View, pid: Pid) -> Self {
        let process = &view.processes[&pid];
        let descriptors = process.descriptors.iter().map(|(fd, slot)| (*fd, slot.kind)).collect();
        let mut areas: Vec<(ObjectId, IovaRange)> =
            view.mappings.iter().map(|area| (area.ioas, area.range)).collect();
        areas.truncate(12);
        let files = || process.descriptors.iter().map(|(fd, slot)| (*fd, slot.file));
        let pairs = |which: &dyn Fn(&Known) -> BTreeSet<ObjectId>| {
            let known = files().filter_map(|(fd, file)| Some((fd, state.known.get(&file)?)));
            known.flat_map(|(fd, known)| which(known).into_iter().map(move |id| (fd, id))).collect()
        };
        let attachable = files()
            .filter_map(|(fd, file)| Some((fd, state.known.get(state.bound.get(&file)?)?)))
            .flat_map(|(fd, known)| known.spaces.iter().map(move |id| (fd, *id)))
            .collect();
        let theirs = state.mappings.iter().filter(|(of, ..)| *of == pid);
        Self {
            descriptors,
            spaces: pairs(&|known| known.spaces.clone()),
            others: pairs(&|known| known.others.clone()),
            attachable,
            areas,
            mappings: theirs.map(|(_, va, length)| (*va, *length)).collect(),
            has_real: !state.bound.is_empty(),
            has_mock: state.has_mock,
            device_paths: (0..2).map(|at| format!("/dev/vfio/devices/vfio{at}")).collect(),
        }
    }

    /// Processes with descriptors do more.
    fn weight(&self) -> u32 {
        if self.descriptors.is_empty() { 1 } else { 3 }
    }

    // ---- arguments -----------------------------------------------------------------------------

    /// A descriptor, mostly of this kind.
    pub(super) fn fd(&self, kind: FileKind) -> BoxedStrategy<Fd> {
        let any = one_of![1 => Just(Fd(-1)), 12 => (3..12i32).prop_map(Fd)];
        let held: Vec<Fd> = self.descriptors.iter().map(|(fd, _)| *fd).collect();
        let fitting: Vec<Fd> =
            self.descriptors.iter().filter(|(_, of)| *of == kind).map(|(fd, _)| *fd).collect();
        match (fitting.is_empty(), held.is_empty()) {
            (false, _) => one_of![40 => select(fitting), 1 => select(held), 1 => any].boxed(),
            (true, false) => one_of![4 => select(held), 1 => any].boxed(),
            (true, true) => any.boxed(),
        }
    }

    pub(super) fn iommufd(&self) -> BoxedStrategy<Fd> {
        self.fd(FileKind::Iommufd)
    }

    /// A descriptor of a context and an object of it, mostly one of these.
    pub(super) fn object(&self, of: &[(Fd, ObjectId)]) -> BoxedStrategy<(Fd, ObjectId)> {
        let any = (self.iommufd(), (0..9u32).prop_map(ObjectId));
        if of.is_empty() {
            return any.boxed();
        }
        one_of![20 => select(of.to_vec()), 1 => any].boxed()
    }

    pub(super) fn space(&self) -> BoxedStrategy<(Fd, ObjectId)> {
        self.object(&self.spaces)
    }

    pub(super) fn other(&self) -> BoxedStrategy<(Fd, ObjectId)> {
        self.object(&self.others)
    }

    /// An object by its number alone, mostly of this sort.
    pub(super) fn number(of: &[(Fd, ObjectId)]) -> BoxedStrategy<ObjectId> {
        let any = (0..9u32).prop_map(ObjectId);
        if of.is_empty() {
            return any.boxed();
        }
        let ids: Vec<ObjectId> = of.iter().map(|(_, id)| *id).collect();
        one_of![20 => select(ids), 1 => any].boxed()
    }

    /// An address: of an area, beside one, of a small grid, or at an edge of something.
    pub(super) fn iova(&self) -> BoxedStrategy<u64> {
        let grid = (0..12u64).prop_map(|page| BASE + page * PAGE_BYTES);
        let off = select(vec![1, 0x800, 0x801]);
        let unaligned = (grid.clone(), off).prop_map(|(page, off)| page + off);
        let edges = select(EDGES);
        if self.areas.is_empty() {
            return one_of![20 => grid, 2 => unaligned, 1 => edges].boxed();
        }
        let ends: Vec<u64> = (self.areas.iter())
            .flat_map(|(_, area)| {
                let (first, last) = (area.first.0, area.last.0);
                [
                    first,
                    first,
                    last.wrapping_add(1),
                    first.wrapping_sub(PAGE_BYTES),
                    first.wrapping_add(PAGE_BYTES),
                ]
            })
            .collect();
        one_of![12 => select(ends), 10 => grid, 2 => unaligned, 1 => edges].boxed()
    }

    /// A length: some pages, that of an area, or an odd one.
    pub(super) fn length(&self) -> BoxedStrategy<u64> {
        let pages = (1..6u64).prop_map(|pages| pages * PAGE_BYTES);
        let odd = select(vec![0, 1, 0x800, 0x1001, 1 << 31, 1 << 63, u64::MAX - 1, u64::MAX]);
        if self.areas.is_empty() {
            return one_of![16 => pages, 1 => odd].boxed();
        }
        let lengths: Vec<u64> = (self.areas.iter().map(|(_, area)| area.length_bytes())).collect();
        one_of![10 => pages, 8 => select(lengths), 1 => odd].boxed()
    }

    /// An address of memory of the process, or of none.
    pub(super) fn va(&self) -> BoxedStrategy<u64> {
        let nowhere = select(vec![0, 0x1000, 0x7e00_0000_0000, u64::MAX - 0xfff]);
        if self.mappings.is_empty() {
            return nowhere.boxed();
        }
        let offset = one_of![8 => (0..4u64).prop_map(|page| page * PAGE_BYTES), 1 => Just(0x800)];
        let within =
            (select(self.mappings.clone()), offset).prop_map(|((va, _), offset)| va.0 + offset);
        one_of![16 => within, 1 => nowhere].boxed()
    }

    /// An offset in a file.
    pub(super) fn offset() -> BoxedStrategy<u64> {
        let pages = (0..4u64).prop_map(|page| page * PAGE_BYTES);
        one_of![16 => pages, 1 => select(vec![1, 0x800, 1 << 40, u64::MAX - 0xfff])].boxed()
    }

    /// An address space and a range of it, mostly an area, or the beginning or the end of one.
    fn place(&self) -> BoxedStrategy<(Fd, ObjectId, u64, u64)> {
        let any = (self.space(), self.iova(), self.length())
            .prop_map(|((fd, ioas), iova, length_bytes)| (fd, ioas, iova, length_bytes));
        if self.areas.is_empty() {
            return any.boxed();
        }
        let cut =
            one_of![6 => Just((0, 0)), 1 => Just((PAGE_BYTES, 0)), 1 => Just((0, PAGE_BYTES))];
        let area = (self.iommufd(), select(self.areas.clone()), cut).prop_map(
            |(fd, (ioas, area), (before, after))| {
                let length_bytes = area.length_bytes().saturating_sub(before + after);
                (fd, ioas, area.first.0.wrapping_add(before), length_bytes)
            },
        );
        one_of![1 => any, 2 => area].boxed()
    }

    // ---- calls ---------------------------------------------------------------------------------

    fn file_call(&self) -> Calls {
        let any_fd = self.fd(FileKind::Other);
        // Nothing may wait.
        let nonblock =
            any_fd.clone().prop_map(|fd| Call::File(FileCall::SetNonblock { fd, on: true }));
        let iommufds = self.descriptors.iter().filter(|(_, of)| *of == FileKind::Iommufd).count();
        let iommu = Just(Call::File(FileCall::Open { path: "/dev/iommu".to_owned() }));
        let device =
            select(self.device_paths.clone()).prop_map(|path| Call::File(FileCall::Open { path }));
        let passed = one_of![2 => self.iommufd(), 1 => any_fd.clone()];
        let fds = prop::collection::vec(passed, 0..3);
        one_of![
            if iommufds == 0 { 40 } else { 1 } => iommu,
            4 => device,
            1 => any_fd.clone().prop_map(|fd| Call::File(FileCall::Close { fd })),
            1 => any_fd.clone().prop_map(|fd| Call::File(FileCall::Dup { fd })),
            3 => (any_fd, any::<bool>()).prop_map(|(fd, on)| Call::File(FileCall::SetCloexec { fd, on })),
            1 => nonblock,
            1 => Just(Call::File(FileCall::Eventfd)),
            1 => self.fd(FileKind::Eventfd).prop_map(|fd| Call::File(FileCall::ReadEvent { fd })),
            4 => (self.fd(FileKind::Socket), fds)
                .prop_map(|(fd, fds)| Call::Socket(SocketCall::Send { fd, bytes: vec![1], fds })),
            4 => self.fd(FileKind::Socket)
                .prop_map(|fd| Call::Socket(SocketCall::Receive { fd, wait: false })),
        ]
        .boxed()
    }

    fn memory_call(&self) -> Calls {
        if self.mappings.is_empty() {
            return self.file_memory_call();
        }
        let unmap = select(self.mappings.clone())
            .prop_map(|(va, length_bytes)| Call::Memory(MemoryCall::Munmap { va, length_bytes }));
        one_of![16 => self.file_memory_call(), 1 => unmap].boxed()
    }

    fn file_memory_call(&self) -> Calls {
        let memfd = self.fd(FileKind::Memfd);
        let length = (0..9u64).prop_map(|half| half * (PAGE_BYTES / 2));
        one_of![
            3 => Just(Call::Memory(MemoryCall::Memfd { name: "ram".to_owned() })),
            6 => memfd.clone()
                .prop_map(|fd| Call::Memory(MemoryCall::Truncate { fd, length_bytes: 8 * PAGE_BYTES })),
            1 => (memfd.clone(), length)
                .prop_map(|(fd, length_bytes)| Call::Memory(MemoryCall::Truncate { fd, length_bytes })),
            1 => memfd.clone().prop_map(|fd| Call::Memory(MemoryCall::SealSize { fd })),
            1 => (memfd.clone(), Self::offset(), self.length()).prop_map(
                |(fd, offset_bytes, length_bytes)| Call::Memory(MemoryCall::PunchHole { fd, offset_bytes, length_bytes })
            ),
            4 => (prop::option::of(memfd), Self::offset(), 1..5u64).prop_map(
                |(fd, offset_bytes, pages)| Call::Memory(MemoryCall::Mmap {
                    fd,
                    offset_bytes: if fd.is_some() { offset_bytes } else { 0 },
                    length_bytes: pages * PAGE_BYTES
                })
            ),
        ]
        .boxed()
    }

    #[expect(clippy::unused_self, reason = "one of the sorts")]
    fn process_call(&self) -> Calls {
        let limit = (0..24u64).prop_map(|pages| pages * PAGE_BYTES);
        one_of![
            6 => limit.prop_map(|limit_bytes| Call::Process(ProcessCall::SetMemlock { limit_bytes })),
            1 => Just(Call::Process(ProcessCall::DropCapIpcLock)),
            1 => select(vec![1000, 1001]).prop_map(|uid| Call::Process(ProcessCall::SetUid { uid: Uid(uid) })),
            1 => Just(Call::Process(ProcessCall::GetMemlock)),
            1 => Just(Call::Process(ProcessCall::GetUid)),
            1 => Just(Call::Process(ProcessCall::GetCapIpcLock)),
        ]
        .boxed()
    }

    fn ioas_call(&self) -> Calls {
        let rights = || one_of![1 => Just(Rights::Read), 5 => Just(Rights::ReadWrite)];
        let by_address = (self.space(), self.va(), self.length(), self.iova(), rights()).prop_map(
            |((iommufd, ioas), va, length_bytes, iova, rights)| {
                let (user_va, iova) = (Va(va), Iova(iova));
                Call::Iommufd(IommufdCall::IoasMap {
                    iommufd,
                    ioas,
                    user_va,
                    length_bytes,
                    iova,
                    rights,
                })
            },
        );
        let memfd = self.fd(FileKind::Memfd);
        let by_file = (self.space(), memfd, Self::offset(), self.length(), self.iova(), rights())
            .prop_map(|((iommufd, ioas), fd, offset_bytes, length_bytes, iova, rights)| {
                let iova = Iova(iova);
                Call::Iommufd(IommufdCall::IoasMapFile {
                    iommufd,
                    ioas,
                    fd,
                    offset_bytes,
                    length_bytes,
                    iova,
                    rights,
                })
            });
        let to = Self::number(&self.spaces);
        let copy = (self.place(), to, self.iova(), rights()).prop_map(
            |((iommufd, source, from, length_bytes), destination, to, rights)| {
                let (source_iova, destination_iova) = (Iova(from), Iova(to));
                Call::Iommufd(IommufdCall::IoasCopy {
                    iommufd,
                    source,
                    source_iova,
                    destination,
                    destination_iova,
                    length_bytes,
                    rights,
                })
            },
        );
        let unmap = self.place().prop_map(|(iommufd, ioas, iova, length_bytes)| {
            let iova = Iova(iova);
            Call::Iommufd(IommufdCall::IoasUnmap { iommufd, ioas, iova, length_bytes })
        });
        let everything = self.space().prop_map(|(iommufd, ioas)| {
            let iova = Iova(0);
            Call::Iommufd(IommufdCall::IoasUnmap { iommufd, ioas, iova, length_bytes: u64::MAX })
        });
        let allocate = if self.spaces.is_empty() { 60 } else { 2 };
        one_of![
            3 => by_address.clone(),
            12 => by_file.clone(),
            2 => one_of![by_address, by_file, copy.clone()].prop_map(|call| automatic(&call)),
            5 => copy,
            4 => unmap,
            1 => everything,
            8 => self.iommufd().prop_map(|iommufd| Call::Iommufd(IommufdCall::ChangeProcess { iommufd, reserved: 0 })),
            allocate => self.iommufd().prop_map(|iommufd| Call::Iommufd(IommufdCall::IoasAlloc { iommufd })),
        ]
        .boxed()
    }

    fn object_call(&self) -> Calls {
        let ranges = prop::collection::vec((self.iova(), self.length()), 0..3);
        let allow = (self.space(), ranges).prop_map(|((fd, ioas), ranges)| {
            let bytes: Vec<u8> = (ranges.iter())
                .flat_map(|(first, length)| {
                    let last = first.wrapping_add(length.wrapping_sub(1));
                    [first.to_ne_bytes(), last.to_ne_bytes()].concat()
                })
                .collect();
            let count = u32::try_from(ranges.len()).expect("few");
            let words = [24, ioas.0, count, 0, 0, 0];
            raw(fd, nr::IOMMU_IOAS_ALLOW_IOVAS, &words, vec![Pointee { at: 16, bytes }])
        });
        let vfio_ioas = (self.space(), 0..4u32)
            .prop_map(|((fd, ioas), op)| raw(fd, nr::IOMMU_VFIO_IOAS, &[12, ioas.0, op], vec![]));
        let huge_pages = (self.space(), 0..3u32, 0..3u32).prop_map(|((fd, ioas), op, value)| {
            raw(fd, nr::IOMMU_OPTION, &[24, 1, op, ioas.0, value, 0], vec![])
        });
        let iommufd = self.iommufd();
        let either = one_of![self.space(), self.other()];
        one_of![
            2 => either.prop_map(|(iommufd, id)| Call::Iommufd(IommufdCall::Destroy { iommufd, id })),
            2 => self.space().prop_map(|(iommufd, ioas)| Call::Iommufd(IommufdCall::IoasIovaRanges { iommufd, ioas })),
            4 => (self.other(), Self::number(&self.spaces), any::<bool>()).prop_map(
                |((iommufd, device), ioas, nest_parent)| {
                    Call::Iommufd(IommufdCall::HwptAlloc { iommufd, device, ioas, nest_parent })
                }
            ),
            1 => self.other().prop_map(|(iommufd, hwpt)| Call::Iommufd(IommufdCall::ProbeHwpt { iommufd, hwpt })),
            1 => (self.other(), self.other()).prop_map(|((iommufd, device), (_, hwpt))| {
                Call::Iommufd(IommufdCall::ProbeNesting { iommufd, device, hwpt })
            }),
            1 => self.other().prop_map(|(iommufd, device)| Call::Iommufd(IommufdCall::GetHwInfo { iommufd, device })),
            2 => (iommufd.clone(), any::<bool>())
                .prop_map(|(iommufd, per_process)| Call::Iommufd(IommufdCall::SetRlimitMode { iommufd, per_process })),
            1 => iommufd.prop_map(|iommufd| Call::Iommufd(IommufdCall::GetRlimitMode { iommufd })),
            2 => allow,
            1 => vfio_ioas,
            1 => huge_pages,
        ]
        .boxed()
    }

    fn device_call(&self) -> Calls {
        let device = self.fd(FileKind::Device);
        let eventfds = prop::collection::vec(self.fd(FileKind::Eventfd), 0..3);
        let place = one_of![
            3 => self.object(&self.attachable),
            1 => (device.clone(), Self::number(&self.others)),
        ];
        if self.has_mock {
            return device.prop_map(|device| Call::Device(DeviceCall::Detach { device })).boxed();
        }
        let bind = if self.attachable.is_empty() { 20 } else { 2 };
        one_of![
            bind => (device.clone(), self.iommufd())
                .prop_map(|(device, iommufd)| Call::Device(DeviceCall::Bind { device, iommufd })),
            10 => place.prop_map(|(device, page_table)| Call::Device(DeviceCall::Attach { device, page_table })),
            2 => device.clone().prop_map(|device| Call::Device(DeviceCall::Detach { device })),
            1 => device.clone().prop_map(|device| Call::Device(DeviceCall::Info { device })),
            1 => (device.clone(), 0..10u32)
                .prop_map(|(device, index)| Call::Device(DeviceCall::IrqInfo { device, index })),
            2 => (device.clone(), 0..6u32, eventfds).prop_map(|(device, index, eventfds)| {
                Call::Device(DeviceCall::SetIrqs { device, index, eventfds })
            }),
            1 => device.prop_map(|device| Call::Device(DeviceCall::Reset { device })),
        ]
        .boxed()
    }
}

/// Addresses at which something ends: of address spaces, apertures, windows of interrupts.
const EDGES: &[u64] = &[
    0,
    0x1000,
    0x0100_0000,
    0x7fff_f000,
    0x8000_0000,
    0xfedf_f000,
    0xfee0_0000,
    0xfef0_0000,
    0x7f_ffff_f000,
    0x80_0000_0000,
    u64::MAX - 0xfff,
    u64::MAX,
];
