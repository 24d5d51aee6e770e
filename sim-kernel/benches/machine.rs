//! Cost of a machine, small and large: calls, clones, hashes, memory.
//!
//! The model checker clones and hashes machines far more often than it makes calls on one, and the
//! first call on a clone copies the shared state that it changes. So MAP, UNMAP and CHANGE_PROCESS
//! are measured both on an unshared machine and on a fresh clone. Bytes are those that the
//! allocator counts.

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use handoff_model::abi::call::{
    Call, DeviceCall, FileCall, IommufdCall, MemoryCall, Reply, Rights, SocketCall, UNLIMITED,
};
use handoff_model::abi::ids::{Fd, Iova, ObjectId, PAGE_BYTES, Pid, Uid};
use handoff_sim_kernel::{DeviceKind, DeviceSpec, Machine, ProcessSpec, Profile};
use std::hash::{DefaultHasher, Hash, Hasher};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const OLD: Pid = Pid(1);
const NEW: Pid = Pid(2);
const EDU: &str = "/dev/vfio/devices/vfio0";
/// Numbers of mappings.
const SIZES: [u64; 2] = [2, 10_000];

/// Two processes that hold one context: an IOAS with `mappings` mappings, and an attached device.
#[derive(Clone)]
struct Bench {
    machine: Machine,
    iommufd: Fd,
    ioas: ObjectId,
    memfd: Fd,
    mappings: u64,
}

impl Bench {
    fn new(mappings: u64) -> Self {
        let mut machine = Machine::new(Profile::by_name("7.3").expect("a profile"));
        machine.plug(DeviceSpec::new("edu", EDU, DeviceKind::Pci { can_reset: false }));
        for _ in [OLD, NEW] {
            let spec =
                ProcessSpec { uid: Uid(1000), cap_ipc_lock: false, memlock_bytes: UNLIMITED };
            machine.spawn(spec);
        }
        let (near, far) = machine.socketpair(OLD, NEW);
        let mut fd = |call: Call| match machine.call(OLD, &call) {
            Ok(Reply::Fd(fd)) => fd,
            other => panic!("{call:?}: {other:?}"),
        };
        let iommufd = fd(Call::File(FileCall::Open { path: "/dev/iommu".into() }));
        let device = fd(Call::File(FileCall::Open { path: EDU.into() }));
        let memfd = fd(Call::Memory(MemoryCall::Memfd { name: "ram".into() }));
        let mut id = |call: Call| match machine.call(OLD, &call) {
            Ok(Reply::Object(id)) => id,
            other => panic!("{call:?}: {other:?}"),
        };
        let ioas = id(Call::Iommufd(IommufdCall::IoasAlloc { iommufd }));
        id(Call::Device(DeviceCall::Bind { device, iommufd }));
        id(Call::Device(DeviceCall::Attach { device, page_table: ioas }));
        let mut bench = Self { machine, iommufd, ioas, memfd, mappings };
        let length_bytes = (mappings + 1) * PAGE_BYTES;
        bench.ok(OLD, &Call::Memory(MemoryCall::Truncate { fd: memfd, length_bytes }));
        (0..mappings).for_each(|page| bench.ok(OLD, &bench.map(page)));
        bench.ok(OLD, &SocketCall::send(near, vec![1], vec![iommufd]));
        bench.ok(NEW, &Call::Socket(SocketCall::Receive { fd: far, wait: true }));
        bench
    }

    fn ok(&mut self, pid: Pid, call: &Call) {
        self.machine.call(pid, call).unwrap_or_else(|errno| panic!("{call:?}: {errno}"));
    }

    fn map(&self, page: u64) -> Call {
        IommufdCall::map_file(
            self.iommufd,
            self.ioas,
            (self.memfd, page * PAGE_BYTES),
            Iova((1 + page) * PAGE_BYTES),
            PAGE_BYTES,
            Rights::ReadWrite,
        )
    }

    /// Returns a MAP of one more page.
    fn map_next(&self) -> Call {
        self.map(self.mappings)
    }

    fn unmap(&self, page: u64) -> Call {
        let iova = Iova((1 + page) * PAGE_BYTES);
        let (iommufd, ioas) = (self.iommufd, self.ioas);
        IommufdCall::unmap(iommufd, ioas, iova, PAGE_BYTES)
    }

    #[expect(clippy::unused_self, reason = "one of the calls")]
    fn change_process(&self) -> (Pid, Call) {
        // The context's descriptor in the new process: the first one after the socket.
        (NEW, IommufdCall::change_process(Fd(4)))
    }
}

fn main() {
    divan::main();
}

/// Reports the bytes that the machine holds as `max alloc`, and those allocated to build it as
/// `alloc`.
#[divan::bench(args = SIZES, sample_count = 5, sample_size = 1)]
fn build(mappings: u64) -> Bench {
    Bench::new(mappings)
}

#[divan::bench(args = SIZES)]
fn clone(bencher: Bencher<'_, '_>, mappings: u64) {
    let bench = Bench::new(mappings);
    bencher.bench_local(|| black_box(bench.machine.clone()));
}

fn digest(machine: &Machine) -> u64 {
    let mut hasher = DefaultHasher::new();
    machine.hash(&mut hasher);
    hasher.finish()
}

/// Hashes a machine that has not changed since the last hash.
#[divan::bench(args = SIZES)]
fn hash_again(bencher: Bencher<'_, '_>, mappings: u64) {
    let bench = Bench::new(mappings);
    bencher.bench_local(|| digest(&bench.machine));
}

/// Hashes a machine whose context has changed since the last hash.
#[divan::bench(args = SIZES)]
fn hash_after_map(bencher: Bencher<'_, '_>, mappings: u64) {
    let bench = Bench::new(mappings);
    digest(&bench.machine);
    let changed = || {
        let mut clone = bench.clone();
        clone.ok(OLD, &bench.map_next());
        clone
    };
    bencher.with_inputs(changed).bench_local_refs(|bench| digest(&bench.machine));
}

/// Makes a MAP and the UNMAP of it, on an unshared machine.
#[divan::bench(args = SIZES)]
fn map_and_unmap(bencher: Bencher<'_, '_>, mappings: u64) {
    let mut bench = Bench::new(mappings);
    let (map, unmap) = (bench.map_next(), bench.unmap(mappings));
    bencher.counter(ItemsCount::new(2usize)).bench_local(|| {
        bench.ok(OLD, &map);
        bench.ok(OLD, &unmap);
    });
}

/// Transfers the context to the new process and back, on an unshared machine.
#[divan::bench(args = SIZES)]
fn change_process_twice(bencher: Bencher<'_, '_>, mappings: u64) {
    let mut bench = Bench::new(mappings);
    let (pid, change) = bench.change_process();
    let back = IommufdCall::change_process(bench.iommufd);
    bencher.counter(ItemsCount::new(2usize)).bench_local(|| {
        bench.ok(pid, &change);
        bench.ok(OLD, &back);
    });
}

fn on_a_clone(bencher: Bencher<'_, '_>, mappings: u64, of: impl Fn(&Bench) -> (Pid, Call)) {
    let bench = Bench::new(mappings);
    let (pid, call) = of(&bench);
    let clone = bencher.counter(ItemsCount::new(1usize)).with_inputs(|| bench.clone());
    clone.bench_local_refs(|bench| bench.ok(pid, &call));
}

#[divan::bench(args = SIZES)]
fn map_on_a_clone(bencher: Bencher<'_, '_>, mappings: u64) {
    on_a_clone(bencher, mappings, |bench| (OLD, bench.map_next()));
}

#[divan::bench(args = SIZES)]
fn unmap_on_a_clone(bencher: Bencher<'_, '_>, mappings: u64) {
    on_a_clone(bencher, mappings, |bench| (OLD, bench.unmap(0)));
}

#[divan::bench(args = SIZES)]
fn change_process_on_a_clone(bencher: Bencher<'_, '_>, mappings: u64) {
    on_a_clone(bencher, mappings, Bench::change_process);
}
