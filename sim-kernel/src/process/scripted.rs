//! State changes that a replay applies to a machine without a call.
//!
//! A recorded process forks, receives descriptors in ways that are not modelled, and changes its
//! credentials by calls that [`Call`](handoff_model::abi::call::Call) does not have. These
//! functions put the machine into the same state. They check no permissions and return no errno.
//!
//! A child has copies of its parent's anonymous memory: pages that devices have pinned stay the
//! parent's. Linux copies those pages at the fork, too, and the others when one of the two
//! processes writes them.
//!
//! Mirrors `kernel/fork.c`, `copy_present_page` of `mm/memory.c`, `net/core/scm.c`,
//! `kernel/cred.c`.

use crate::fs::file_ref;
use crate::machine::Machine;
use crate::mm::Vma;
use crate::process::Process;
use crate::value::{FileId, Shared};
use handoff_model::abi::ids::{Fd, Pid, Uid};
use handoff_model::abi::view::{FileKind, FileRef};
use std::collections::BTreeMap;

impl Machine {
    /// Forks a child with its parent's descriptors, memory map, user, capability and limit, and
    /// without a guest.
    ///
    /// # Panics
    ///
    /// Panics if the parent is dead.
    pub fn fork(&mut self, parent: Pid) -> Pid {
        assert!(self.alive(parent), "a dead process does not fork");
        let mut child = Process { generation: 0, guest: None, ..self.process(parent).clone() };
        self.copy_private_memory(&mut child.vmas);
        let slots = child.descriptors.values().map(|slot| slot.file);
        let files: Vec<FileId> = slots.chain(child.bars.iter().map(|bar| bar.file)).collect();
        for file in files {
            self.get_file(file);
        }
        self.processes.push(Shared::new(child));
        Pid(u32::try_from(self.processes.len()).expect("processes are few"))
    }

    fn copy_private_memory(&mut self, vmas: &mut [Vma]) {
        let mut copies = BTreeMap::new();
        for vma in vmas {
            let memory = self.memories.get(vma.memory).clone();
            if memory.is_private {
                let copy = copies.entry(vma.memory).or_insert_with(|| self.memories.insert(memory));
                vma.memory = *copy;
            }
        }
    }

    /// Installs the open file of a descriptor under the free descriptor `at` of the same process or
    /// another. Returns false if `fd` is not open.
    ///
    /// # Panics
    ///
    /// Panics if `at` is in use.
    pub fn share(&mut self, from: Pid, fd: Fd, to: Pid, at: Fd, cloexec: bool) -> bool {
        let Ok(slot) = self.descriptor(from, fd) else { return false };
        let installed = self.install(to, slot.file, Some(at)).expect("a free descriptor");
        assert_eq!(installed, at, "the descriptor is free");
        self.process_mut(to).descriptors.get_mut(&at).expect("just installed").cloexec = cloexec;
        true
    }

    /// Returns the kind of file that a descriptor is open on, if it is open.
    pub fn kind_of(&self, pid: Pid, fd: Fd) -> Option<FileKind> {
        self.descriptor(pid, fd).ok().map(|slot| self.file(slot.file).kind())
    }

    /// Returns the open file of a descriptor as views name it, if it is open.
    pub fn file_of(&self, pid: Pid, fd: Fd) -> Option<FileRef> {
        self.descriptor(pid, fd).ok().map(|slot| file_ref(slot.file))
    }

    /// Sets a process's user, and whether it has `CAP_IPC_LOCK`.
    pub fn set_credentials(&mut self, pid: Pid, uid: Uid, cap_ipc_lock: bool) {
        let process = self.process_mut(pid);
        process.uid = uid;
        process.cap_ipc_lock = cap_ipc_lock;
    }

    /// Sets a process's `RLIMIT_MEMLOCK` in bytes; [`handoff_model::abi::call::UNLIMITED`] for
    /// none.
    pub fn set_limit(&mut self, pid: Pid, limit_bytes: u64) {
        self.process_mut(pid).memlock_bytes = limit_bytes;
    }
}
