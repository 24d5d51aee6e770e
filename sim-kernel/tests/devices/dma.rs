//! DMA reaches exactly the mapped memory.

use crate::common::{BASE, EDU, OLD, Rig, map_file};
use handoff_model::abi::call::{Call, FileCall, Reply};
use handoff_model::abi::ids::{Iova, PAGE_BYTES};
use handoff_sim_kernel::DmaFault;

#[test]
fn dma_reaches_what_is_mapped() {
    let mut rig = Rig::default();
    let iommufd = rig.iommufd(OLD);
    let ioas = rig.ioas(OLD, iommufd);
    let (device, _) = rig.bind(OLD, EDU, iommufd);
    assert_eq!(rig.machine.dma("edu", BASE), Err(DmaFault::NoBusMaster));
    rig.enable_bus_master(OLD, device);
    assert_eq!(rig.machine.dma("edu", BASE), Err(DmaFault::Blocked));
    rig.attach(OLD, device, ioas);
    assert_eq!(rig.machine.dma("edu", BASE), Err(DmaFault::Unmapped));
    let memfd = rig.memfd(OLD, 2);
    rig.ok(OLD, map_file(iommufd, ioas, memfd, BASE, 2));
    let inode = match rig.ok(OLD, Call::File(FileCall::Stat { fd: memfd })) {
        Reply::Stat { inode, .. } => inode,
        other => panic!("{other:?}"),
    };
    for (offset, index) in [(0, 0), (PAGE_BYTES - 1, 0), (PAGE_BYTES, 1)] {
        let page = rig.machine.dma("edu", Iova(BASE.0 + offset)).expect("mapped");
        assert_eq!((page.inode, page.index, page.generation), (inode, index, 0));
    }
    let reach = rig.machine.view().devices["edu"].reach.clone().expect("seen");
    assert_eq!(reach.len(), 1);
    assert!(reach[0].pinned && reach[0].range.length_bytes() == 2 * PAGE_BYTES);
}
