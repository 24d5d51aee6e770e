//! Ioctls in traces: argument structures as hex, through the codec of [`crate::abi::uapi`].
//!
//! Other programs may fill a structure in ways that no variant of [`Call`] expresses: shorter or
//! longer than ours, with reserved fields set, or with optional parts in use. A recorded structure
//! is decoded to a variant only if encoding that variant yields the same bytes, except for bytes
//! that the kernel ignores or writes (the *free* bytes). Any other ioctl is a [`Call::Ioctl`], byte
//! for byte.

use super::Event;
use super::pointer;
use super::record::{Memory, Record};
use crate::abi::argument::{Argument, HexBytes, Ioctl, IoctlOutcome, Pointee};
use crate::abi::call::{Call, CallResult, ContainerCall, DeviceCall, IommufdCall, KvmCall};
use crate::abi::errno::Errno;
use crate::abi::ids::Fd;
use crate::abi::request;
use crate::abi::uapi;
use iommufd_bindings as io;
use std::mem::{offset_of, size_of};
use std::ops::Range;
use vfio_bindings::bindings::vfio;

/// Returns the name of a request, or its number in hex if it has none.
pub(super) fn name(request: u32) -> String {
    request::name(request).map_or_else(|| format!("{request:#x}"), str::to_owned)
}

/// Returns the record of an ioctl that was made.
pub(super) fn record(call: &Call, answer: &CallResult) -> Record {
    let (fd, ioctl) = uapi::encode(call).expect("an ioctl");
    let outcome = uapi::outcome(call, &ioctl, answer);
    let pointees = ioctl.argument.pointees().iter().zip(outcome.pointees);
    Record::Ioctl {
        fd,
        path: None,
        req: ioctl.request,
        name: request::name(ioctl.request).map(str::to_owned),
        arg: match ioctl.argument {
            Argument::Value(value) => Some(value),
            Argument::Structure(_) => None,
        },
        input: ioctl.argument.bytes().to_vec(),
        output: outcome.bytes,
        memory: pointees
            .map(|(before, HexBytes(output))| Memory {
                field: pointer::name(ioctl.request, before.at),
                input: before.bytes.clone(),
                output,
            })
            .collect(),
    }
}

/// Returns the return value of an ioctl.
pub(super) fn returned(call: &Call, answer: &CallResult) -> i64 {
    let (_, ioctl) = uapi::encode(call).expect("an ioctl");
    uapi::outcome(call, &ioctl, answer).result.map_or(-1, i64::from)
}

/// A recorded ioctl.
pub(super) struct Recorded<'a> {
    pub(super) fd: Fd,
    pub(super) request: u32,
    pub(super) value: Option<u64>,
    pub(super) input: &'a [u8],
    pub(super) output: &'a [u8],
    pub(super) memory: &'a [Memory],
    pub(super) result: Result<u32, Errno>,
}

impl<'a> Recorded<'a> {
    /// Returns the ioctl of an event; `None` if the event is none or its result is not known.
    pub(super) fn of(event: &'a Event) -> Option<Self> {
        let Record::Ioctl { fd, req, input, output, memory, arg, .. } = &event.record else {
            return None;
        };
        Some(Self {
            fd: *fd,
            request: *req,
            value: *arg,
            input,
            output,
            memory,
            result: match (event.succeeded(), event.errno()) {
                (true, _) => Ok(event.ret.and_then(|ret| ret.try_into().ok()).unwrap_or(0)),
                (false, errno) => Err(errno?),
            },
        })
    }

    /// Returns the call: a variant of its own if [`Call`] has one, otherwise the bytes.
    pub(super) fn call(&self) -> Call {
        self.form().unwrap_or_else(|| Call::Ioctl { fd: self.fd, ioctl: self.ioctl() })
    }

    fn form(&self) -> Option<Call> {
        let call = uapi::decode(self.fd, self.request, &self.ioctl().argument)?;
        let (_, ours) = uapi::encode(&call)?;
        let lacks_room = matches!(call, Call::Iommufd(IommufdCall::IoasIovaRanges { .. }))
            && self.result == Err(Errno::EMSGSIZE)
            && self.input != ours.argument.bytes();
        let is_ours = is_form(&call, self.input, ours.argument.bytes());
        (!lacks_room && is_ours).then_some(call)
    }

    /// Returns the call and its outcome as bytes.
    pub(super) fn as_bytes(&self) -> (Call, IoctlOutcome) {
        let pointees = self.pointees().map(|(_, memory)| HexBytes(memory.output.clone()));
        let (result, bytes) = (self.result, self.output.to_vec());
        let outcome = IoctlOutcome { result, bytes, pointees: pointees.collect() };
        (Call::Ioctl { fd: self.fd, ioctl: self.ioctl() }, outcome)
    }

    /// Returns the recorded memory of those pointers whose offset is known.
    fn pointees(&self) -> impl Iterator<Item = (usize, &Memory)> {
        let offset = |memory: &Memory| pointer::offset(self.request, &memory.field);
        self.memory.iter().filter_map(move |memory| Some((offset(memory)?, memory)))
    }

    /// Returns the request and its argument. An empty structure and a null pointer have the same
    /// record.
    fn ioctl(&self) -> Ioctl {
        let pointees =
            self.pointees().map(|(at, memory)| Pointee { at, bytes: memory.input.clone() });
        let argument = match self.value {
            Some(value) => Argument::Value(value),
            None if self.input.is_empty() => Argument::Value(0),
            None => Argument::of(self.input.to_vec(), pointees.collect()),
        };
        Ioctl { request: self.request, argument }
    }

    /// Returns the answer of the call.
    pub(super) fn answer(&self, call: &Call) -> CallResult {
        let pointees = self.memory.iter().map(|memory| HexBytes(memory.output.clone()));
        let bytes = self.output.to_vec();
        uapi::answer(
            call,
            IoctlOutcome { result: self.result, bytes, pointees: pointees.collect() },
        )
    }
}

/// Returns true if a recorded structure requests the same as ours for this call.
fn is_form(call: &Call, theirs: &[u8], ours: &[u8]) -> bool {
    let free = match call {
        Call::Iommufd(call) => free_of_iommufd(call),
        Call::Device(call) => free_of_device(call),
        Call::Container(
            ContainerCall::SetIommu { .. }
            | ContainerCall::CanUpdateVaddr { .. }
            | ContainerCall::MapDma { .. }
            | ContainerCall::GiveVaddr { .. }
            | ContainerCall::ForgetVaddrs { .. },
        )
        | Call::Kvm(KvmCall::CreateVm { .. } | KvmCall::CreateIrqchip { .. }) => Vec::new(),
        // These structures do not begin with their size.
        Call::Container(ContainerCall::SetContainer { .. } | ContainerCall::GroupDevice { .. })
        | Call::Kvm(KvmCall::Irqfd { .. }) => return theirs == ours,
        // No ioctl decodes to these.
        Call::Ioctl { .. }
        | Call::File(_)
        | Call::Memory(_)
        | Call::Process(_)
        | Call::Socket(_)
        | Call::Guest(_) => return false,
    };
    is_same(theirs, ours, &free)
}

/// Returns true if two structures that begin with their size request the same: theirs is at least
/// as long as ours, zero beyond it, and equal except for the leading size and the free bytes.
fn is_same(theirs: &[u8], ours: &[u8], free: &[Range<usize>]) -> bool {
    const SIZE: usize = size_of::<u32>();
    let Some(size) = theirs.first_chunk().map(|size| u32::from_ne_bytes(*size) as usize) else {
        return ours.is_empty();
    };
    let is_free = |at: usize| at < SIZE || free.iter().any(|range| range.contains(&at));
    let our_byte = |at: usize| ours.get(at).copied().unwrap_or(0);
    let is_equal = |(at, byte): (usize, &u8)| is_free(at) || *byte == our_byte(at);
    size >= ours.len() && theirs.len() >= ours.len() && theirs.iter().enumerate().all(is_equal)
}

fn word(at: usize) -> Range<usize> {
    at..at + size_of::<u32>()
}

fn long(at: usize) -> Range<usize> {
    at..at + size_of::<u64>()
}

/// Returns the free bytes of a call's structure: results, pointers to buffers for results, and
/// bytes that the kernel ignores unless a flag is set that our variants do not set.
fn free_of_iommufd(call: &IommufdCall) -> Vec<Range<usize>> {
    match call {
        IommufdCall::IoasAlloc { .. } => {
            vec![word(offset_of!(io::iommu_ioas_alloc, out_ioas_id))]
        }
        IommufdCall::IoasIovaRanges { .. } => vec![
            word(offset_of!(io::iommu_ioas_iova_ranges, num_iovas)),
            long(offset_of!(io::iommu_ioas_iova_ranges, allowed_iovas)),
            long(offset_of!(io::iommu_ioas_iova_ranges, out_iova_alignment)),
        ],
        IommufdCall::GetRlimitMode { .. } => {
            vec![long(offset_of!(io::iommu_option, val64))]
        }
        IommufdCall::HwptAlloc { .. } | IommufdCall::ProbeNesting { .. } => vec![
            word(offset_of!(io::iommu_hwpt_alloc, out_hwpt_id)),
            long(offset_of!(io::iommu_hwpt_alloc, data_uptr)),
            word(offset_of!(io::iommu_hwpt_alloc, fault_id)),
            word(offset_of!(io::iommu_hwpt_alloc, __reserved2)),
        ],
        IommufdCall::ProbeHwpt { .. } => vec![
            long(offset_of!(io::iommu_hwpt_get_dirty_bitmap, iova)),
            long(offset_of!(io::iommu_hwpt_get_dirty_bitmap, page_size)),
            long(offset_of!(io::iommu_hwpt_get_dirty_bitmap, data)),
        ],
        IommufdCall::GetHwInfo { .. } => vec![
            word(offset_of!(io::iommu_hw_info, data_len)),
            long(offset_of!(io::iommu_hw_info, data_uptr)),
            word(offset_of!(io::iommu_hw_info, __bindgen_anon_1)),
            long(offset_of!(io::iommu_hw_info, out_capabilities)),
        ],
        IommufdCall::Destroy { .. }
        | IommufdCall::IoasMap { .. }
        | IommufdCall::IoasMapFile { .. }
        | IommufdCall::IoasCopy { .. }
        | IommufdCall::IoasUnmap { .. }
        | IommufdCall::ChangeProcess { .. }
        | IommufdCall::SetRlimitMode { .. } => Vec::new(),
    }
}

fn free_of_device(call: &DeviceCall) -> Vec<Range<usize>> {
    let rest = |at: usize| at..usize::MAX;
    match call {
        DeviceCall::Bind { .. } => {
            vec![rest(offset_of!(vfio::vfio_device_bind_iommufd, out_devid))]
        }
        DeviceCall::Info { .. } => {
            vec![rest(offset_of!(vfio::vfio_device_info, flags))]
        }
        DeviceCall::RegionInfo { .. } => vec![
            word(offset_of!(vfio::vfio_region_info, flags)),
            rest(offset_of!(vfio::vfio_region_info, cap_offset)),
        ],
        DeviceCall::IrqInfo { .. } => vec![
            word(offset_of!(vfio::vfio_irq_info, flags)),
            rest(offset_of!(vfio::vfio_irq_info, count)),
        ],
        DeviceCall::Attach { .. }
        | DeviceCall::Detach { .. }
        | DeviceCall::SetIrqs { .. }
        | DeviceCall::Reset { .. } => Vec::new(),
    }
}
