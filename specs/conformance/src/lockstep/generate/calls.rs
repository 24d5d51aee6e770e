//! Generators of calls, by category.

use super::Calls;
use super::arguments::Caller;
use crate::lockstep::mutate::{automatic, raw};
use handoff_model::abi::argument::Pointee;
use handoff_model::abi::call::{
    Call, DeviceCall, FileCall, IommufdCall, MemoryCall, ProcessCall, Rights, SocketCall,
};
use handoff_model::abi::ids::{Iova, PAGE_BYTES, Uid, Va};
use handoff_model::abi::request as nr;
use handoff_model::abi::view::FileKind;
use proptest::prelude::*;
use proptest::sample::select;

impl Caller {
    pub(super) fn file_call(&self) -> Calls {
        let any_fd = self.fd(FileKind::Other);
        // No call may wait.
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
            3 => (any_fd, any::<bool>())
                .prop_map(|(fd, on)| Call::File(FileCall::SetCloexec { fd, on })),
            1 => nonblock,
            1 => Just(Call::File(FileCall::Eventfd)),
            1 => self.fd(FileKind::Eventfd).prop_map(|fd| Call::File(FileCall::ReadEvent { fd })),
            4 => (self.fd(FileKind::Socket), fds)
                .prop_map(|(fd, fds)| SocketCall::send(fd, vec![1], fds)),
            4 => self.fd(FileKind::Socket)
                .prop_map(|fd| Call::Socket(SocketCall::Receive { fd, wait: false })),
        ]
        .boxed()
    }

    pub(super) fn memory_call(&self) -> Calls {
        if self.mappings.is_empty() {
            return self.file_memory_call();
        }
        let unmap = select(self.mappings.clone())
            .prop_map(|(va, length_bytes)| Call::Memory(MemoryCall::Munmap { va, length_bytes }));
        one_of![16 => self.file_memory_call(), 1 => unmap].boxed()
    }

    pub(super) fn file_memory_call(&self) -> Calls {
        let memfd = self.fd(FileKind::Memfd);
        let length = (0..9u64).prop_map(|half| half * (PAGE_BYTES / 2));
        one_of![
            3 => Just(Call::Memory(MemoryCall::Memfd { name: "ram".to_owned() })),
            6 => memfd.clone()
                .prop_map(|fd| {
                    Call::Memory(MemoryCall::Truncate { fd, length_bytes: 8 * PAGE_BYTES })
                }),
            1 => (memfd.clone(), length)
                .prop_map(|(fd, length_bytes)| {
                    Call::Memory(MemoryCall::Truncate { fd, length_bytes })
                }),
            1 => memfd.clone().prop_map(|fd| Call::Memory(MemoryCall::SealSize { fd })),
            1 => (memfd.clone(), Self::offset(), self.length())
                .prop_map(|(fd, offset, length)| MemoryCall::punch_hole(fd, offset, length)),
            4 => (prop::option::of(memfd), Self::offset(), 1..5u64).prop_map(
                |(fd, offset, pages)| {
                    let offset = if fd.is_some() { offset } else { 0 };
                    MemoryCall::mmap(fd, offset, pages * PAGE_BYTES)
                }
            ),
        ]
        .boxed()
    }

    #[expect(clippy::unused_self, reason = "one of the categories")]
    pub(super) fn process_call(&self) -> Calls {
        let limit = (0..24u64).prop_map(|pages| pages * PAGE_BYTES);
        one_of![
            6 => limit
                .prop_map(|limit_bytes| Call::Process(ProcessCall::SetMemlock { limit_bytes })),
            1 => Just(Call::Process(ProcessCall::DropCapIpcLock)),
            1 => select(vec![1000, 1001])
                .prop_map(|uid| Call::Process(ProcessCall::SetUid { uid: Uid(uid) })),
            1 => Just(Call::Process(ProcessCall::GetMemlock)),
            1 => Just(Call::Process(ProcessCall::GetUid)),
            1 => Just(Call::Process(ProcessCall::GetCapIpcLock)),
        ]
        .boxed()
    }

    pub(super) fn ioas_call(&self) -> Calls {
        let rights = || one_of![1 => Just(Rights::Read), 5 => Just(Rights::ReadWrite)];
        let by_address = (self.space(), self.va(), self.length(), self.iova(), rights()).prop_map(
            |((iommufd, ioas), va, length_bytes, iova, rights)| {
                let (user_va, iova) = (Va(va), Iova(iova));
                IommufdCall::map(iommufd, ioas, user_va, iova, length_bytes, rights)
            },
        );
        let memfd = self.fd(FileKind::Memfd);
        let by_file = (self.space(), memfd, Self::offset(), self.length(), self.iova(), rights())
            .prop_map(|((iommufd, ioas), fd, offset_bytes, length_bytes, iova, rights)| {
                let iova = Iova(iova);
                IommufdCall::map_file(iommufd, ioas, (fd, offset_bytes), iova, length_bytes, rights)
            });
        let to = Self::number(&self.spaces);
        let copy = (self.place(), to, self.iova(), rights()).prop_map(
            |((iommufd, source, from, length_bytes), destination, to, rights)| {
                let (source_iova, destination_iova) = (Iova(from), Iova(to));
                IommufdCall::copy(
                    iommufd,
                    (source, source_iova),
                    (destination, destination_iova),
                    length_bytes,
                    rights,
                )
            },
        );
        let unmap = self.place().prop_map(|(iommufd, ioas, iova, length_bytes)| {
            let iova = Iova(iova);
            IommufdCall::unmap(iommufd, ioas, iova, length_bytes)
        });
        let everything = self.space().prop_map(|(iommufd, ioas)| {
            let iova = Iova(0);
            IommufdCall::unmap(iommufd, ioas, iova, u64::MAX)
        });
        let allocate = if self.spaces.is_empty() { 60 } else { 2 };
        one_of![
            3 => by_address.clone(),
            12 => by_file.clone(),
            2 => one_of![by_address, by_file, copy.clone()].prop_map(|call| automatic(&call)),
            5 => copy,
            4 => unmap,
            1 => everything,
            8 => self.iommufd().prop_map(IommufdCall::change_process),
            allocate => self.iommufd()
                .prop_map(|iommufd| Call::Iommufd(IommufdCall::IoasAlloc { iommufd })),
        ]
        .boxed()
    }

    pub(super) fn object_call(&self) -> Calls {
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
            2 => either
                .prop_map(|(iommufd, id)| Call::Iommufd(IommufdCall::Destroy { iommufd, id })),
            2 => self.space()
                .prop_map(|(iommufd, ioas)| {
                    Call::Iommufd(IommufdCall::IoasIovaRanges { iommufd, ioas })
                }),
            4 => (self.other(), Self::number(&self.spaces), any::<bool>()).prop_map(
                |((iommufd, device), ioas, nest_parent)| {
                    if nest_parent {
                        IommufdCall::hwpt_alloc_nest_parent(iommufd, device, ioas)
                    } else {
                        IommufdCall::hwpt_alloc(iommufd, device, ioas)
                    }
                }
            ),
            1 => self.other()
                .prop_map(|(iommufd, hwpt)| {
                    Call::Iommufd(IommufdCall::ProbeHwpt { iommufd, hwpt })
                }),
            1 => (self.other(), self.other()).prop_map(|((iommufd, device), (_, hwpt))| {
                Call::Iommufd(IommufdCall::ProbeNesting { iommufd, device, hwpt })
            }),
            1 => self.other()
                .prop_map(|(iommufd, device)| {
                    Call::Iommufd(IommufdCall::GetHwInfo { iommufd, device })
                }),
            2 => (iommufd.clone(), any::<bool>())
                .prop_map(|(iommufd, per_process)| {
                    Call::Iommufd(IommufdCall::SetRlimitMode { iommufd, per_process })
                }),
            1 => iommufd.prop_map(|iommufd| Call::Iommufd(IommufdCall::GetRlimitMode { iommufd })),
            2 => allow,
            1 => vfio_ioas,
            1 => huge_pages,
        ]
        .boxed()
    }

    pub(super) fn device_call(&self) -> Calls {
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
            10 => place
                .prop_map(|(device, page_table)| {
                    Call::Device(DeviceCall::Attach { device, page_table })
                }),
            2 => device.clone().prop_map(|device| Call::Device(DeviceCall::Detach { device })),
            1 => device.clone().prop_map(|device| Call::Device(DeviceCall::Info { device })),
            1 => (device.clone(), 0..10u32)
                .prop_map(|(device, index)| Call::Device(DeviceCall::IrqInfo { device, index })),
            2 => (device.clone(), 0..6u32, eventfds).prop_map(|(device, index, eventfds)| {
                DeviceCall::set_irqs(device, index, eventfds)
            }),
            1 => device.prop_map(|device| Call::Device(DeviceCall::Reset { device })),
        ]
        .boxed()
    }
}
