//! Known bugs of handing containers over, as edits of the variant `type1`.
//!
//! Where the cause is a pointer or an assertion inside of the VMM, which no kernel sees, the edit
//! is what came of it: the process dies there, or does not make those calls.

use super::Defect;
use crate::protocol::Mode;
use crate::protocol::phase::{InPhase as I, OutPhase as O};
use crate::variants::Change::{After, Instead, Undo};
use crate::variants::Edit::{In, Out, Waive};
use crate::vm::blocker::BlockerKind;

const BUG: Defect = Defect {
    id: "",
    sentence: "",
    source: "",
    variant: "type1",
    mode: Mode::Transfer,
    breaks: "",
    edits: &[],
};

/// All of them.
pub(super) const DEFECTS: &[Defect] = &[
    Defect {
        id: "dies-restoring",
        sentence: "on the way back the old process dies of an assertion before it gives any \
                   mapping its address again",
        source: "QEMU 10.1, fixed by 9423094896: what is only due in a new process is asserted on \
                 the way back, too",
        breaks: "VM-3",
        edits: &[
            Out(Instead(O::RestoreVaddr, O::AbortRestoring)),
            Out(Undo(O::AbortRestoring, O::Disconnect)),
        ],
        ..BUG
    },
    Defect {
        id: "dies-restored",
        sentence: "the old process dies when it has given the mappings their addresses again",
        source: "QEMU 10.1, fixed by e8c1128bf9: a function that only a new process had saved is \
                 put back in the old one",
        breaks: "VM-3",
        edits: &[
            Out(After(O::RestoreVaddr, O::AbortRestoring)),
            Out(Undo(O::AbortRestoring, O::Disconnect)),
        ],
        ..BUG
    },
    Defect {
        id: "sections-restored",
        sentence: "what is given addresses again is the memory as the guest sees it, holes and \
                   all, and not what was mapped",
        source: "QEMU 10.1, fixed by 5a78db7f80: recovery mapped the unpopulated parts of \
                 virtio-mem, too",
        breaks: "VM-3",
        edits: &[Out(Instead(O::RestoreVaddr, O::RestoreWhole))],
        ..BUG
    },
    Defect {
        id: "first-container-only",
        sentence: "of several containers only the first one's mappings are given new addresses",
        source: "QEMU 10.1, fixed by 924c3ccb31: an override for a class that each container \
                 saved and put back",
        breaks: "VA-1",
        edits: &[In(Instead(I::MapVaddr, I::MapVaddrOfFirst))],
        ..BUG
    },
    Defect {
        id: "containers-merged",
        sentence: "two containers are taken for one, because their files are on one device: of \
                   the second the file is closed, and no mapping is given an address",
        source: "QEMU 10.1 to 10.2: same_device compares st_dev, which is that of devtmpfs",
        mode: Mode::Exec,
        breaks: "FD-1",
        edits: &[
            In(After(I::MapRam, I::MergeContainers)),
            In(Instead(I::MapVaddr, I::MapVaddrOfFirst)),
        ],
        ..BUG
    },
    Defect {
        id: "mdev-unjudged",
        sentence: "nobody asks whether the mappings of a container can lose their addresses",
        source: "Linux 6.3, ef3a3f6a294b: not with a mediated device, which may look at them \
                 meanwhile",
        breaks: "PRE-1",
        edits: &[Waive(BlockerKind::NoNewAddresses)],
        ..BUG
    },
    Defect {
        id: "nonblocking-received",
        sentence: "the new process makes what it receives non-blocking, and so it is for the old \
                   one, too",
        source: "QEMU 10.1, fixed by 7bc2cbe330: O_NONBLOCK is in the open file description, and \
                 who waits gets EAGAIN",
        breaks: "READ-1",
        edits: &[In(After(I::ReadStream, I::SetNonblocking))],
        ..BUG
    },
];
