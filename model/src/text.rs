//! Calls, answers and views in words: what stories and reports print.

use crate::abi::call::{
    Answer, Call, ContainerCall, DeviceCall, FileCall, GuestCall, IommufdCall, KvmCall, MemoryCall,
    ProcessCall, Reply, SocketCall, errno_of,
};
use crate::abi::ids::{Fd, Pid};
use crate::abi::view::{
    Account, DeviceView, GuestView, InjectedView, InterruptView, MappingView, PageRef, PageRun,
    PageSetView, ProcessView, View,
};
use crate::stream::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A call with its answer, descriptors by name.
pub fn call(call: &Call, answer: &Answer, name: &dyn Fn(Fd) -> String) -> String {
    let said = match (call, answer) {
        (Call::Socket(SocketCall::Receive { .. }), Ok(Reply::Message { bytes, fds, .. })) => {
            return received(bytes, fds.len());
        }
        _ => asked(call, name),
    };
    format!("{said}{}", result(answer))
}

fn received(bytes: &[u8], fds: usize) -> String {
    if bytes.is_empty() {
        return "receive: the peer is gone".to_owned();
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
        Err(damage) => format!("garbage ({damage})"),
    }
}

fn asked(call: &Call, name: &dyn Fn(Fd) -> String) -> String {
    let on = |what: &str, fd: Fd| format!("{what} {}", name(fd));
    match call {
        Call::Socket(SocketCall::Send { bytes, fds, .. }) => {
            format!("send {}", message(bytes, fds.len()))
        }
        Call::Socket(SocketCall::ShutdownReceive { .. }) => {
            "shut the receiving side of the socket".to_owned()
        }
        Call::File(FileCall::SetCloexec { fd, on: true }) => on("set CLOEXEC of", *fd),
        Call::File(FileCall::SetCloexec { fd, on: false }) => on("clear CLOEXEC of", *fd),
        Call::File(FileCall::SetNonblock { fd, on: true }) => on("set O_NONBLOCK of", *fd),
        Call::File(FileCall::SetNonblock { fd, on: false }) => on("clear O_NONBLOCK of", *fd),
        Call::Iommufd(IommufdCall::ChangeProcess { iommufd, reserved: 0 }) => {
            on("IOMMU_IOAS_CHANGE_PROCESS", *iommufd)
        }
        Call::Iommufd(IommufdCall::ChangeProcess { iommufd, .. }) => {
            on("probe IOMMU_IOAS_CHANGE_PROCESS", *iommufd)
        }
        Call::Iommufd(IommufdCall::IoasCopy { source, source_iova, destination, .. })
            if source == destination =>
        {
            format!("look whether IOAS {source} maps {source_iova}")
        }
        Call::Process(ProcessCall::Exec { image }) => on("execve", *image),
        Call::Process(ProcessCall::Exit { status }) => format!("exit {status}"),
        Call::Guest(GuestCall::Stop) => "stop the guest".to_owned(),
        Call::Guest(GuestCall::Start) => "let the guest run".to_owned(),
        Call::Guest(GuestCall::Save { .. }) => "save the guest".to_owned(),
        Call::Guest(GuestCall::Load { .. }) => "build the guest from what was saved".to_owned(),
        Call::Iommufd(IommufdCall::GetHwInfo { device, .. }) => {
            format!("{} of device {device}", call.name())
        }
        Call::Iommufd(IommufdCall::ProbeHwpt { hwpt, .. }) => {
            format!("look whether there is an HWPT {hwpt}")
        }
        Call::Iommufd(IommufdCall::ProbeNesting { hwpt, .. }) => {
            format!("look whether HWPT {hwpt} is a nesting parent")
        }
        Call::Process(ProcessCall::AwaitExit { pidfd }) => on("wait for the end of", *pidfd),
        Call::Memory(MemoryCall::Munmap { va, .. }) => format!("munmap {va}"),
        Call::Iommufd(IommufdCall::IoasIovaRanges { ioas, .. }) => {
            format!("{} of IOAS {ioas}", call.name())
        }
        Call::Iommufd(IommufdCall::IoasUnmap { ioas, iova, .. }) => {
            format!("{} of IOAS {ioas} at {iova}", call.name())
        }
        Call::Iommufd(IommufdCall::IoasMapFile { ioas, iova, .. }) => {
            format!("{} in IOAS {ioas} at {iova}", call.name())
        }
        Call::Iommufd(IommufdCall::Destroy { id, .. }) => format!("{} {id}", call.name()),
        Call::Container(ContainerCall::CanUpdateVaddr { container }) => {
            on("look whether new addresses can be given in", *container)
        }
        Call::Container(ContainerCall::GiveVaddr { container, iova, .. }) => {
            format!("{} at {iova} of {}", call.name(), name(*container))
        }
        Call::Kvm(KvmCall::Irqfd { eventfd, assign: true, .. }) => {
            on("assign the irqfd of", *eventfd)
        }
        Call::Kvm(KvmCall::Irqfd { eventfd, assign: false, .. }) => {
            on("take away the irqfd of", *eventfd)
        }
        _ => subject(call).map_or_else(|| call.name().to_owned(), |fd| on(call.name(), fd)),
    }
}

/// The descriptor that a call is about.
fn subject(call: &Call) -> Option<Fd> {
    match call {
        Call::File(
            FileCall::Close { fd }
            | FileCall::Dup { fd }
            | FileCall::Stat { fd }
            | FileCall::WriteAt { fd, .. }
            | FileCall::ReadAt { fd, .. }
            | FileCall::ReadEvent { fd }
            | FileCall::WriteEvent { fd, .. }
            | FileCall::Read { fd, .. }
            | FileCall::Write { fd, .. },
        )
        | Call::Memory(
            MemoryCall::Truncate { fd, .. }
            | MemoryCall::SealSize { fd }
            | MemoryCall::AddSeals { fd, .. }
            | MemoryCall::ReopenReadOnly { fd }
            | MemoryCall::PunchHole { fd, .. }
            | MemoryCall::Mmap { fd: Some(fd), .. },
        ) => Some(*fd),
        Call::Process(ProcessCall::Kill { pidfd }) => Some(*pidfd),
        Call::Container(
            ContainerCall::ForgetVaddrs { container }
            | ContainerCall::MapDma { container, .. }
            | ContainerCall::SetIommu { container },
        ) => Some(*container),
        Call::Container(
            ContainerCall::SetContainer { group, .. } | ContainerCall::GroupDevice { group, .. },
        ) => Some(*group),
        Call::Device(
            DeviceCall::Bind { device, .. }
            | DeviceCall::Attach { device, .. }
            | DeviceCall::Detach { device }
            | DeviceCall::Info { device }
            | DeviceCall::RegionInfo { device, .. }
            | DeviceCall::IrqInfo { device, .. }
            | DeviceCall::SetIrqs { device, .. }
            | DeviceCall::Reset { device },
        ) => Some(*device),
        _ => None,
    }
}

fn result(answer: &Answer) -> String {
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

/// What a view says, one fact a line, by subject.
pub type Facts = BTreeMap<String, String>;

/// The facts of a view; `process` names processes.
pub fn facts(view: &View, process: &dyn Fn(Pid) -> String) -> Facts {
    let mut facts = Facts::new();
    for (pid, seen) in &view.processes {
        of_process(&mut facts, &process(*pid), seen);
    }
    for (at, set) in view.page_sets.iter().enumerate() {
        of_page_set(&mut facts, at, set, process);
    }
    facts.extend(view.mappings.iter().map(|mapping| {
        let MappingView { context, ioas, range, memory, .. } = mapping;
        (format!("IOAS {ioas} of iommufd {context}, {range}"), run(memory))
    }));
    facts.insert("descriptors on their way".to_owned(), format!("{}", view.in_flight.len()));
    for (account, pages) in &view.books {
        let whose = match account {
            Account::User(uid) => format!("user {uid}"),
            Account::Process(pid) => process(*pid),
        };
        facts.insert(format!("charged to {whose}"), format!("{pages} pages"));
    }
    for (name, device) in &view.devices {
        of_device(&mut facts, name, device, process);
    }
    facts
}

fn of_process(facts: &mut Facts, who: &str, seen: &ProcessView) {
    let mut say = |what: &str, value: String| facts.insert(format!("{who}{what}"), value);
    let life = if seen.alive { "alive" } else { "gone" };
    let running = |guest: &GuestView| if guest.running { "guest runs" } else { "guest stopped" };
    let guest = seen.guest.as_ref().map_or("no guest", running);
    say("", format!("{life}, {guest}"));
    if let Some(guest) = &seen.guest {
        let progress = guest.progress.map_or("unknown".to_owned(), |steps| format!("step {steps}"));
        say(", its guest has come to", progress);
        let ram = guest.ram.iter().map(run).collect::<Vec<_>>();
        let ram = if ram.is_empty() { "none".to_owned() } else { ram.join(", ") };
        say(", its guest's memory", ram);
        let waits = |of: &InjectedView| format!("{} of {}.{}", of.count, of.device, of.vector);
        if !guest.injected.is_empty() {
            let waits = guest.injected.iter().map(waits).collect::<Vec<_>>().join(", ");
            say(", interrupts that KVM has for its guest", waits);
        }
    }
    say(", descriptors", format!("{}", seen.descriptors.len()));
    let inherit = seen.descriptors.values().filter(|descriptor| !descriptor.cloexec).count();
    say(", inheritable descriptors", format!("{inherit}"));
    if let Some(pages) = seen.vm_pin_pages {
        facts.insert(format!("VmPin of {who}"), format!("{pages} pages"));
    }
}

fn of_page_set(facts: &mut Facts, at: usize, set: &PageSetView, process: &dyn Fn(Pid) -> String) {
    let owner = match (set.owner, set.owner_alive) {
        (Some(owner), Some(true)) => process(owner),
        (Some(owner), _) => format!("{}, whose memory map is gone", process(owner)),
        (None, _) => "not observable".to_owned(),
    };
    let counts = format!("{} and {}", set.pinned_pages, set.charged_pages);
    let replaced = format!("{} times", set.memory.first.generation);
    facts.insert(format!("pages {at}, owner"), owner);
    facts.insert(format!("pages {at}, pinned and charged"), counts);
    facts.insert(format!("pages {at}, replaced"), replaced);
    if let Some(awaits) = set.awaits_address {
        let address = if awaits { "awaited" } else { "known" };
        facts.insert(format!("pages {at}, address"), address.to_owned());
    }
}

fn of_device(facts: &mut Facts, name: &str, device: &DeviceView, process: &dyn Fn(Pid) -> String) {
    let mut say = |what: &str, value: String| facts.insert(format!("{name}, {what}"), value);
    let attached = device.attached.map_or("nothing".to_owned(), |(_, ioas)| format!("IOAS {ioas}"));
    say("attached to", attached);
    say("bound", if device.bound { "yes" } else { "no" }.to_owned());
    say("resets and detaches", format!("{}", device.upsets));
    if let Some(may) = device.bus_master {
        say("may do DMA", if may { "yes" } else { "no" }.to_owned());
    }
    for reach in device.reach.iter().flatten() {
        let pinned = if reach.pinned { "" } else { ", not pinned" };
        say(&format!("reaches at {}", reach.range), format!("{}{pinned}", run(&reach.memory)));
    }
    for (vector, irq) in device.interrupts.iter().enumerate() {
        let InterruptView { raised, delivered, pending, irqfd, .. } = irq;
        let counts = format!("raised {raised}, taken {delivered}, waiting {pending}");
        say(&format!("interrupt {vector}"), counts);
        if let Some(pid) = irqfd {
            say(&format!("interrupt {vector}, taken by"), format!("KVM for {}", process(*pid)));
        }
    }
}

fn run(pages: &PageRun) -> String {
    let PageRef { inode, index, generation } = pages.first;
    let replaced = match generation {
        0 => String::new(),
        times => format!(", replaced {times} times"),
    };
    format!("pages {index}..{} of file {inode}{replaced}", index + pages.pages)
}

/// A fact that differs between two views.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is about.
    pub subject: String,
    /// What the first view says; "none" where it says nothing.
    pub before: String,
    /// What the second says.
    pub after: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} → {}", self.subject, self.before, self.after)
    }
}

/// The facts that differ, by subject.
pub fn differences(before: &Facts, after: &Facts) -> Vec<Difference> {
    let subjects: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let said =
        |facts: &Facts, subject| facts.get(subject).map_or("none", String::as_str).to_owned();
    (subjects.into_iter())
        .filter(|subject| before.get(*subject) != after.get(*subject))
        .map(|subject| Difference {
            subject: subject.clone(),
            before: said(before, subject),
            after: said(after, subject),
        })
        .collect()
}
