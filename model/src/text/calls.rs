//! Calls and answers as text.

use crate::abi::call::{
    Call, CallResult, ContainerCall, DeviceCall, FileCall, GuestCall, IommufdCall, KvmCall,
    MemoryCall, ProcessCall, Reply, SocketCall, errno_of,
};
use crate::abi::ids::Fd;
use crate::stream::Message;

/// Returns a call with its answer; `name` maps descriptors to names.
pub fn call(call: &Call, answer: &CallResult, name: &dyn Fn(Fd) -> String) -> String {
    let on = |what: &str, fd: Fd| format!("{what} {}", name(fd));
    if let (Call::Socket(SocketCall::Receive { .. }), Ok(Reply::Message { bytes, fds, .. })) =
        (call, answer)
    {
        return received(bytes, fds.len());
    }
    let action = match call {
        Call::File(call) => file(call, &on),
        Call::Memory(call) => memory(call, &on),
        Call::Process(call) => process(call, &on),
        Call::Socket(call) => socket(call),
        Call::Guest(call) => guest(call).to_owned(),
        Call::Iommufd(call) => iommufd(call, &on),
        Call::Device(call) => device(call, &on),
        Call::Container(call) => container(call, &on),
        Call::Kvm(call) => kvm(call, &on),
        Call::Ioctl { .. } => call.name().to_owned(),
    };
    format!("{action}{}", result(answer))
}

/// Formats an action on a descriptor.
type On<'a> = &'a dyn Fn(&str, Fd) -> String;

fn file(call: &FileCall, on: On<'_>) -> String {
    match call {
        FileCall::SetCloexec { fd, on: true } => on("set CLOEXEC of", *fd),
        FileCall::SetCloexec { fd, on: false } => on("clear CLOEXEC of", *fd),
        FileCall::SetNonblock { fd, on: true } => on("set O_NONBLOCK of", *fd),
        FileCall::SetNonblock { fd, on: false } => on("clear O_NONBLOCK of", *fd),
        FileCall::Close { fd }
        | FileCall::Dup { fd }
        | FileCall::Stat { fd }
        | FileCall::WriteAt { fd, .. }
        | FileCall::ReadAt { fd, .. }
        | FileCall::ReadEvent { fd }
        | FileCall::WriteEvent { fd, .. }
        | FileCall::Read { fd, .. }
        | FileCall::Write { fd, .. } => on(call.name(), *fd),
        FileCall::Open { .. } | FileCall::Eventfd => call.name().to_owned(),
    }
}

fn memory(call: &MemoryCall, on: On<'_>) -> String {
    match call {
        MemoryCall::Munmap { va, .. } => format!("munmap {va}"),
        MemoryCall::Truncate { fd, .. }
        | MemoryCall::SealSize { fd }
        | MemoryCall::AddSeals { fd, .. }
        | MemoryCall::ReopenReadOnly { fd }
        | MemoryCall::PunchHole { fd, .. }
        | MemoryCall::Mmap { fd: Some(fd), .. } => on(call.name(), *fd),
        MemoryCall::Memfd { .. } | MemoryCall::Mmap { fd: None, .. } => call.name().to_owned(),
    }
}

fn process(call: &ProcessCall, on: On<'_>) -> String {
    match call {
        ProcessCall::Exec { image } => on("execve", *image),
        ProcessCall::Exit { status } => format!("exit {status}"),
        ProcessCall::Kill { pidfd } => on(call.name(), *pidfd),
        ProcessCall::AwaitExit { pidfd } => on("wait for the exit of", *pidfd),
        ProcessCall::GetMemlock
        | ProcessCall::SetMemlock { .. }
        | ProcessCall::GetUid
        | ProcessCall::SetUid { .. }
        | ProcessCall::GetCapIpcLock
        | ProcessCall::DropCapIpcLock => call.name().to_owned(),
    }
}

fn socket(call: &SocketCall) -> String {
    match call {
        SocketCall::Send { bytes, fds, .. } => format!("send {}", message(bytes, fds.len())),
        SocketCall::ShutdownReceive { .. } => {
            "shut down the receiving side of the socket".to_owned()
        }
        SocketCall::Receive { .. } | SocketCall::ReceiveFew { .. } => call.name().to_owned(),
    }
}

fn received(bytes: &[u8], fds: usize) -> String {
    if bytes.is_empty() {
        return "receive: the peer closed the socket".to_owned();
    }
    format!("receive {}", message(bytes, fds))
}

fn message(bytes: &[u8], fds: usize) -> String {
    match Message::from_bytes(bytes) {
        Ok(Message::Descriptors { .. }) => format!("Descriptors ({fds})"),
        Ok(Message::Refuse { reason }) if !reason.is_empty() => format!("Refuse: {reason}"),
        Ok(other) => {
            let words = format!("{other:?}");
            words.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
        }
        Err(damage) => format!("invalid message ({damage})"),
    }
}

fn guest(call: &GuestCall) -> &'static str {
    match call {
        GuestCall::Stop => "stop the guest",
        GuestCall::Start => "start the guest",
        GuestCall::Save { .. } => "save the guest",
        GuestCall::Load { .. } => "load the saved guest",
    }
}

fn iommufd(call: &IommufdCall, on: On<'_>) -> String {
    let name = call.name();
    match call {
        IommufdCall::ChangeProcess { iommufd, reserved: 0, .. } => on(name, *iommufd),
        IommufdCall::ChangeProcess { iommufd, .. } => on(&format!("probe {name}"), *iommufd),
        IommufdCall::IoasCopy { source, source_iova, destination, .. } if source == destination => {
            format!("check whether IOAS {source} maps {source_iova}")
        }
        IommufdCall::GetHwInfo { device, .. } => format!("{name} of device {device}"),
        IommufdCall::ProbeHwpt { hwpt, .. } => format!("check whether HWPT {hwpt} exists"),
        IommufdCall::ProbeNesting { hwpt, .. } => {
            format!("check whether HWPT {hwpt} is a nesting parent")
        }
        IommufdCall::IoasIovaRanges { ioas, .. } => format!("{name} of IOAS {ioas}"),
        IommufdCall::IoasUnmap { ioas, iova, .. } => format!("{name} of IOAS {ioas} at {iova}"),
        IommufdCall::IoasMapFile { ioas, iova, .. } => format!("{name} in IOAS {ioas} at {iova}"),
        IommufdCall::Destroy { id, .. } => format!("{name} {id}"),
        IommufdCall::IoasAlloc { .. }
        | IommufdCall::IoasMap { .. }
        | IommufdCall::IoasCopy { .. }
        | IommufdCall::GetRlimitMode { .. }
        | IommufdCall::SetRlimitMode { .. }
        | IommufdCall::HwptAlloc { .. } => name.to_owned(),
    }
}

fn device(call: &DeviceCall, on: On<'_>) -> String {
    match call {
        DeviceCall::Bind { device, .. }
        | DeviceCall::Attach { device, .. }
        | DeviceCall::Detach { device }
        | DeviceCall::Info { device }
        | DeviceCall::RegionInfo { device, .. }
        | DeviceCall::IrqInfo { device, .. }
        | DeviceCall::SetIrqs { device, .. }
        | DeviceCall::Reset { device } => on(call.name(), *device),
    }
}

fn container(call: &ContainerCall, on: On<'_>) -> String {
    match call {
        ContainerCall::CanUpdateVaddr { container } => {
            on("check whether addresses can be updated in", *container)
        }
        ContainerCall::GiveVaddr { container, iova, .. } => {
            on(&format!("{} at {iova} of", call.name()), *container)
        }
        ContainerCall::ForgetVaddrs { container }
        | ContainerCall::MapDma { container, .. }
        | ContainerCall::SetIommu { container } => on(call.name(), *container),
        ContainerCall::SetContainer { group, .. } | ContainerCall::GroupDevice { group, .. } => {
            on(call.name(), *group)
        }
    }
}

fn kvm(call: &KvmCall, on: On<'_>) -> String {
    match call {
        KvmCall::Irqfd { eventfd, assign: true, .. } => on("assign the irqfd of", *eventfd),
        KvmCall::Irqfd { eventfd, assign: false, .. } => on("deassign the irqfd of", *eventfd),
        KvmCall::CreateVm { .. } | KvmCall::CreateIrqchip { .. } => call.name().to_owned(),
    }
}

fn result(answer: &CallResult) -> String {
    if let Some(errno) = errno_of(answer) {
        return format!(" → {errno}");
    }
    match answer {
        Ok(Reply::Fd(fd)) => format!(" → {fd}"),
        Ok(Reply::Object(id)) => format!(" → {id}"),
        Ok(Reply::Uid(uid)) => format!(" → {uid}"),
        Ok(Reply::Memlock(u64::MAX)) => " → unlimited".to_owned(),
        Ok(Reply::Memlock(bytes)) => format!(" → {bytes} bytes"),
        Ok(_) | Err(_) => String::new(),
    }
}
