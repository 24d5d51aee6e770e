//! Names for processes, open files and guest memory in the sentence of a violation.

use handoff_model::abi::ids::Pid;
use handoff_model::abi::view::{Account, FileRef, PageRun};
use std::collections::BTreeMap;

/// Names of the processes, open files and RAM blocks of a scenario; numbers stand for the rest.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Names of processes, such as "the old VMM".
    pub processes: BTreeMap<Pid, &'static str>,
    /// Names of open files, such as "iommufd0".
    pub files: BTreeMap<FileRef, String>,
    /// Names of the blocks of guest RAM, by the inode of their memory.
    pub blocks: BTreeMap<u64, String>,
}

impl Names {
    /// Returns the name of a process.
    pub fn process(&self, pid: Pid) -> String {
        self.processes.get(&pid).map_or_else(|| format!("process {pid}"), ToString::to_string)
    }

    /// Returns the name of an open file.
    pub fn file(&self, file: FileRef) -> String {
        self.files.get(&file).cloned().unwrap_or_else(|| format!("file {}", file.0))
    }

    /// Returns the name of the block of RAM whose memory has this inode.
    pub fn block(&self, inode: u64) -> String {
        self.blocks.get(&inode).cloned().unwrap_or_else(|| format!("memory {inode}"))
    }

    /// Returns a run of pages in words: "pages 0..4 of ram0".
    pub fn pages(&self, run: &PageRun) -> String {
        let first = run.first.index;
        format!("pages {first}..{} of {}", first + run.pages, self.block(run.first.inode))
    }

    /// Returns an account of pinned pages in words.
    pub fn account(&self, account: Account) -> String {
        match account {
            Account::User(uid) => format!("user {uid}"),
            Account::Process(pid) => self.process(pid),
        }
    }

    /// Returns the pages that are charged to each account in words.
    pub fn charges(&self, charges: &BTreeMap<Account, i64>) -> String {
        if charges.is_empty() {
            return "no pages".to_owned();
        }
        let each = charges.iter();
        let each = each.map(|(account, pages)| format!("{pages} to {}", self.account(*account)));
        format!("pages charged: {}", each.collect::<Vec<_>>().join(", "))
    }
}
