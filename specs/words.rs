//! Calls, answers and views in words: what stories and reports print.

use handoff_model::call::{Answer, Call, Reply};
use handoff_model::ids::{Fd, Pid};
use handoff_model::stream::Message;
use handoff_model::view::{Account, View};
use std::collections::BTreeMap;

/// A call with its answer, descriptors by name.
pub fn call(call: &Call, answer: &Answer, name: &dyn Fn(Fd) -> String) -> String {
    let said = match (call, answer) {
        (Call::ReceiveMessage { .. }, Ok(Reply::Message { bytes, fds, .. })) => {
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
        Ok(Message::Refuse { reason }) => format!("Refuse: {reason}"),
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
        Call::SendMessage { bytes, fds, .. } => format!("send {}", message(bytes, fds.len())),
        Call::ShutdownReceive { .. } => "shut the receiving side of the socket".to_owned(),
        Call::SetCloexec { fd, on: true } => on("set CLOEXEC of", *fd),
        Call::SetCloexec { fd, on: false } => on("clear CLOEXEC of", *fd),
        Call::ChangeProcess { iommufd, reserved: 0 } => on("IOMMU_IOAS_CHANGE_PROCESS", *iommufd),
        Call::ChangeProcess { iommufd, .. } => on("probe IOMMU_IOAS_CHANGE_PROCESS", *iommufd),
        Call::IoasCopy { source, source_iova, destination, .. } if source == destination => {
            format!("look whether IOAS {source} maps {source_iova}")
        }
        Call::Exec { image } => on("execve", *image),
        Call::Exit { status } => format!("exit {status}"),
        Call::StopGuest => "stop the guest".to_owned(),
        Call::StartGuest => "let the guest run".to_owned(),
        Call::SaveGuest { .. } => "save the guest".to_owned(),
        Call::LoadGuest { .. } => "build the guest from what was saved".to_owned(),
        Call::GetHwInfo { device, .. } => format!("{} of device {device}", call.name()),
        Call::ProbeHwpt { hwpt, .. } => format!("look whether there is an HWPT {hwpt}"),
        Call::AwaitExit { pidfd } => on("wait for the end of", *pidfd),
        Call::Munmap { va, .. } => format!("munmap {va}"),
        Call::IoasIovaRanges { ioas, .. } => format!("{} of IOAS {ioas}", call.name()),
        Call::IoasUnmap { ioas, iova, .. } => format!("{} of IOAS {ioas} at {iova}", call.name()),
        Call::IoasMapFile { ioas, iova, .. } => format!("{} in IOAS {ioas} at {iova}", call.name()),
        Call::Destroy { id, .. } => format!("{} {id}", call.name()),
        _ => subject(call).map_or_else(|| call.name().to_owned(), |fd| on(call.name(), fd)),
    }
}

/// The descriptor that a call is about.
fn subject(call: &Call) -> Option<Fd> {
    match call {
        Call::Close { fd }
        | Call::Dup { fd }
        | Call::Stat { fd }
        | Call::Truncate { fd, .. }
        | Call::SealSize { fd }
        | Call::AddSeals { fd, .. }
        | Call::ReopenReadOnly { fd }
        | Call::PunchHole { fd, .. }
        | Call::WriteAt { fd, .. }
        | Call::ReadAt { fd, .. }
        | Call::ReadEvent { fd }
        | Call::WriteEvent { fd, .. }
        | Call::Read { fd, .. }
        | Call::Write { fd, .. }
        | Call::Mmap { fd: Some(fd), .. } => Some(*fd),
        Call::Kill { pidfd } => Some(*pidfd),
        Call::Bind { device, .. }
        | Call::Attach { device, .. }
        | Call::Detach { device }
        | Call::DeviceInfo { device }
        | Call::RegionInfo { device, .. }
        | Call::IrqInfo { device, .. }
        | Call::SetIrqs { device, .. }
        | Call::Reset { device } => Some(*device),
        _ => None,
    }
}

fn result(answer: &Answer) -> String {
    match answer {
        Err(errno) => format!(" → {errno}"),
        Ok(Reply::Fd(fd)) => format!(" → {fd}"),
        Ok(Reply::Object(id)) => format!(" → {id}"),
        Ok(Reply::Uid(uid)) => format!(" → {uid}"),
        Ok(Reply::Memlock(u64::MAX)) => " → unlimited".to_owned(),
        Ok(Reply::Memlock(bytes)) => format!(" → {bytes} bytes"),
        Ok(_) => String::new(),
    }
}

/// What a view says, one fact a line, by subject.
pub fn facts(view: &View, process: &dyn Fn(Pid) -> String) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    for (pid, seen) in &view.processes {
        let who = process(*pid);
        let life = if seen.alive { "alive" } else { "gone" };
        let guest = seen
            .guest
            .as_ref()
            .map_or("no guest", |g| if g.running { "guest runs" } else { "guest stopped" });
        facts.insert(who.clone(), format!("{life}, {guest}"));
        facts.insert(format!("{who}, descriptors"), format!("{}", seen.descriptors.len()));
        let inherit = seen.descriptors.values().filter(|descriptor| !descriptor.cloexec).count();
        facts.insert(format!("{who}, inheritable descriptors"), format!("{inherit}"));
    }
    for (pid, pages) in view.processes.iter().filter_map(|(pid, p)| Some((pid, p.vm_pin_pages?))) {
        facts.insert(format!("VmPin of {}", process(*pid)), format!("{pages} pages"));
    }
    for (at, set) in view.page_sets.iter().enumerate() {
        let owner = match (set.owner, set.owner_alive) {
            (Some(owner), Some(true)) => process(owner),
            (Some(owner), _) => format!("{}, whose memory map is gone", process(owner)),
            (None, _) => "not observable".to_owned(),
        };
        facts.insert(format!("pages {at}, owner"), owner);
        facts.insert(
            format!("pages {at}, pinned and charged"),
            format!("{} and {}", set.pinned_pages, set.charged_pages),
        );
        facts.insert(
            format!("pages {at}, replaced"),
            format!("{} times", set.memory.first.generation),
        );
    }
    facts.insert("mappings".to_owned(), format!("{}", view.mappings.len()));
    for (account, pages) in &view.books {
        let whose = match account {
            Account::User(uid) => format!("user {uid}"),
            Account::Process(pid) => process(*pid),
        };
        facts.insert(format!("charged to {whose}"), format!("{pages} pages"));
    }
    for (name, device) in &view.devices {
        let attached =
            device.attached.map_or("nothing".to_owned(), |(_, ioas)| format!("IOAS {ioas}"));
        facts.insert(format!("{name}, attached to"), attached);
        facts.insert(format!("{name}, resets and detaches"), format!("{}", device.upsets));
        for (vector, irq) in device.interrupts.iter().enumerate() {
            facts.insert(
                format!("{name}, interrupt {vector}"),
                format!("raised {}, taken {}, waiting {}", irq.raised, irq.delivered, irq.pending),
            );
        }
    }
    facts
}

/// The lines that differ: `subject: before → after`.
pub fn differences(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<String> {
    let none = || "none".to_owned();
    let mut subjects: Vec<_> = before.keys().chain(after.keys()).collect();
    subjects.sort_unstable();
    subjects.dedup();
    (subjects.into_iter())
        .map(|subject| (subject, before.get(subject), after.get(subject)))
        .filter(|(_, before, after)| before != after)
        .map(|(subject, before, after)| {
            let [before, after] = [before, after].map(|side| side.cloned().unwrap_or_else(none));
            format!("{subject}: {before} → {after}")
        })
        .collect()
}
