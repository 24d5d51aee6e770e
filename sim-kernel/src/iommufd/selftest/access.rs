//! The accesses of the kernel's selftests: a file that pins, reads and writes on request.
//!
//! `CREATE_ACCESS` creates an attached access with a descriptor of its own. Its operations name
//! that descriptor and can be requested through any context. Its pins are *items* with numbers of
//! their own, which are not reused. The last close unpins all of them.
//!
//! Mirrors `struct selftest_access` and its operations in `drivers/iommu/iommufd/selftest.c`.

use crate::fs::{File, ObjectFile};
use crate::iommufd::Object;
use crate::iommufd::access::{Access, AccessOwner, Item, MockAccess, Transfer};
use crate::iommufd::ioctl_table::Ucmd;
use crate::iommufd::iova::range;
use crate::iommufd::map::BY_AREA;
use crate::iommufd::selftest::{ID, UNION};
use crate::machine::Machine;
use crate::syscall::{SyscallResult, fail};
use handoff_model::abi::errno::Errno;
use handoff_model::abi::ids::{Fd, Iova, IovaRange, ObjectId, PAGE_BYTES};

/// Maximum length of an access in bytes, which limits the kernel's allocation.
const LENGTH_BYTES_MAX: u64 = 16 << 20;

/// `MOCK_FLAGS_ACCESS_WRITE`, `MOCK_ACCESS_RW_WRITE`, and `MOCK_ACCESS_RW_SLOW_PATH`.
const WRITE: u32 = 1;
const SLOWLY: u32 = 4;

/// EBADE of `errno.h`.
const EBADE: Errno = Errno::Other(52);

impl Machine {
    /// Returns the access that a command names (`iommufd_access_get`). Fails with `EBADFD`, also if
    /// the descriptor is not open.
    fn access_file(&self, ucmd: &Ucmd<'_>) -> SyscallResult<ObjectFile> {
        let file = self.usable(ucmd.pid, Fd(ucmd.cmd.u32(ID).cast_signed()));
        match file.map(|file| self.file(file)) {
            Ok(File::MockAccess(access)) => Ok(*access),
            _ => Err(fail(Errno::EBADFD)),
        }
    }

    fn mock_access(&self, file: ObjectFile) -> &MockAccess {
        match &self.access(file.context, file.object).owner {
            AccessOwner::Mock(mock) => mock,
            AccessOwner::Vfio(_) | AccessOwner::Queue(_) => {
                unreachable!("the object behind such a file")
            }
        }
    }

    fn mock_access_mut(&mut self, file: ObjectFile) -> &mut MockAccess {
        match &mut self.access_mut(file.context, file.object).owner {
            AccessOwner::Mock(mock) => mock,
            AccessOwner::Vfio(_) | AccessOwner::Queue(_) => {
                unreachable!("the object behind such a file")
            }
        }
    }

    /// Returns the IOAS of the access, which is attached as long as it lives.
    fn looks_into(&self, file: ObjectFile) -> ObjectId {
        self.access(file.context, file.object).ioas.expect("attached when it was made")
    }

    /// Creates an access (`iommufd_test_create_access`). Fails with `EOPNOTSUPP` (flags), `ENOMEM`
    /// (no free descriptor), the errnos of attaching, `EFAULT`.
    pub(super) fn create_access(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        const NEEDS_PIN: u32 = 1;
        let flags = ucmd.cmd.u32(UNION + 4);
        if flags & !NEEDS_PIN != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        self.allocate()?;
        let (context, ioas) = (ucmd.context, ucmd.cmd.id(ID));
        let mock = MockAccess { pins: flags & NEEDS_PIN != 0, next: 0, items: Vec::new() };
        let access = Access { owner: AccessOwner::Mock(mock), ioas: None };
        self.atomically(|machine| {
            let object = machine.contexts.get_mut(context).insert(Object::Access(access));
            let file = File::MockAccess(ObjectFile { context, object, iommufd: ucmd.file });
            machine.get_file(ucmd.file);
            let fd = machine.install_new(ucmd.pid, file, ucmd.place.fd);
            let fd = fd.map_err(|_| fail(Errno::ENOMEM))?;
            machine.ioas(context, ioas)?;
            machine.change_access(context, object, Some(ioas))?;
            ucmd.cmd.set_u32(UNION, fd.0.cast_unsigned());
            ucmd.respond()
        })
    }

    /// Unpins and removes an access at the last close (`iommufd_test_staccess_release`).
    pub(crate) fn release_mock_access(&mut self, file: ObjectFile) {
        self.put_all(file.context, file.object);
        self.contexts.get_mut(file.context).objects.remove(&file.object);
        self.put_file(file.iommufd);
    }

    /// Changes the IOAS (`iommufd_test_access_replace_ioas`). Fails with `EBADFD`, `ENOENT`,
    /// `EADDRINUSE`.
    pub(super) fn replace_access(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let file = self.access_file(ucmd)?;
        let ioas = ucmd.cmd.id(UNION);
        self.ioas(file.context, ioas)?;
        self.change_access(file.context, file.object, Some(ioas))?;
        self.reclaim();
        Ok(())
    }

    /// Returns the address that an operation names, directly or by area.
    fn accessed(&self, file: ObjectFile, flags: u32, iova: u64) -> Iova {
        if flags & BY_AREA == 0 {
            return Iova(iova);
        }
        let ioas = self.looks_into(file);
        self.iova_by_area(file.context, ioas, iova).expect("an address space in use")
    }

    /// Pins pages as an item (`iommufd_test_access_pages`). If the result cannot be written to the
    /// caller, the number of the item is still used up.
    ///
    /// # Errors
    ///
    /// `ENOMEM` (too long), `EOPNOTSUPP` (flags), `EBADFD`, `EOPNOTSUPP` (an access that does not
    /// pin), `EINVAL`, `EOVERFLOW`, then those of pinning; `EFAULT`, and `EBADE` if the caller's
    /// memory has other pages; `EFAULT`.
    pub(super) fn access_pages(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let flags = ucmd.cmd.u32(UNION);
        let [iova, length_bytes, va] = [8, 16, 24].map(|at| ucmd.cmd.u64(UNION + at));
        if length_bytes > LENGTH_BYTES_MAX {
            return Err(fail(Errno::ENOMEM));
        }
        if flags & !(WRITE | BY_AREA) != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let file = self.access_file(ucmd)?;
        if !self.mock_access(file).pins {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        self.allocate()?;
        let range = range(self.accessed(file, flags, iova), length_bytes)?;
        let (context, ioas) = (file.context, self.looks_into(file));
        let pinned = self.pin_item(ucmd, file, &range, (flags, va));
        if pinned.is_err() {
            let sets = self.contexts.get(context).sets_behind(ioas, &range);
            self.unpin(context, &sets.into_iter().collect());
        }
        pinned
    }

    fn pin_item(
        &mut self,
        ucmd: &mut Ucmd<'_>,
        file: ObjectFile,
        range: &IovaRange,
        (flags, va): (u32, u64),
    ) -> SyscallResult<()> {
        let (context, ioas) = (file.context, self.looks_into(file));
        let pages = self.pin_for_access(context, ioas, range, flags & WRITE != 0)?;
        if va != 0 {
            let first = va.wrapping_sub(range.first.0 % PAGE_BYTES);
            let pages = pages.iter().flat_map(|pin| {
                (0..pin.pages).map(|at| (pin.memory, pin.page + at, pin.generation))
            });
            for (at, page) in (0..).zip(pages) {
                let found = self.present(ucmd.pid, first.wrapping_add(at * PAGE_BYTES))?;
                if (found.memory, found.page, found.generation) != page {
                    return Err(fail(EBADE));
                }
            }
        }
        self.allocate()?;
        let mock = self.mock_access_mut(file);
        let id = mock.next;
        mock.next = mock.next.wrapping_add(1);
        ucmd.cmd.set_u32(UNION + 4, id);
        ucmd.respond()?;
        self.mock_access_mut(file).items.push(Item { id, range: *range });
        Ok(())
    }

    /// Unpins an item (`iommufd_test_access_item_destroy`). Fails with `EBADFD`, `ENOENT`.
    pub(super) fn destroy_access_pages(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        let file = self.access_file(ucmd)?;
        let id = ucmd.cmd.u32(UNION);
        let items = &mut self.mock_access_mut(file).items;
        let at = items.iter().position(|item| item.id == id).ok_or(fail(Errno::ENOENT))?;
        let range = items.remove(at).range;
        let sets = self.contexts.get(file.context).sets_behind(self.looks_into(file), &range);
        self.unpin(file.context, &sets.into_iter().collect());
        self.reclaim();
        Ok(())
    }

    /// Reads or writes (`iommufd_test_access_rw`).
    ///
    /// # Errors
    ///
    /// `ENOMEM` (too long), `EOPNOTSUPP` (flags), `EBADFD`, `EFAULT` (the buffer of a write),
    /// `EINVAL`, `EOVERFLOW`, then those of the transfer; `EFAULT` (the buffer of a read).
    pub(super) fn access_rw(&mut self, ucmd: &mut Ucmd<'_>) -> SyscallResult<()> {
        const BUFFER: usize = UNION + 16;
        let [iova, length_bytes] = [0, 8].map(|at| ucmd.cmd.u64(UNION + at));
        let flags = ucmd.cmd.u32(UNION + 24);
        if length_bytes > LENGTH_BYTES_MAX {
            return Err(fail(Errno::ENOMEM));
        }
        if flags & !(WRITE | SLOWLY | BY_AREA) != 0 {
            return Err(fail(Errno::EOPNOTSUPP));
        }
        let file = self.access_file(ucmd)?;
        self.allocate()?;
        let length = usize::try_from(length_bytes).expect("a short transfer");
        let is_write = flags & WRITE != 0;
        let mut bytes = if is_write {
            ucmd.user.read_through(BUFFER, 0, length)?.to_vec()
        } else {
            vec![0; length]
        };
        let range = range(self.accessed(file, flags, iova), length_bytes)?;
        let place = (file.context, self.looks_into(file));
        let transfer = if is_write { Transfer::Write(&bytes) } else { Transfer::Read(&mut bytes) };
        self.access_memory(ucmd.pid, place, &range, flags & SLOWLY != 0, transfer)?;
        if is_write { Ok(()) } else { ucmd.user.write_through(BUFFER, 0, &bytes) }
    }
}
