package aiopebble

import "golang.org/x/sys/unix"

// hasRangeSync reports whether the file is on ext4, as Pebble's own FS does. On other filesystems
// sync_file_range(2) may do nothing.
func hasRangeSync(fd uintptr) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(int(fd), &st) == nil && st.Type == unix.EXT4_SUPER_MAGIC &&
		unix.SyncFileRange(int(fd), 0, 0, 0) != unix.ENOSYS
}

// syncRange waits for the writes in flight of the first n bytes, which bounds the dirty pages, and
// starts the write-back of the rest of them.
func syncRange(fd uintptr, n int64) error {
	return unix.SyncFileRange(int(fd), 0, n, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE)
}

func preallocate(fd uintptr, off, n int64) error {
	return unix.Fallocate(int(fd), unix.FALLOC_FL_KEEP_SIZE, off, n)
}

func prefetch(fd uintptr, off, n int64) error {
	if _, _, errno := unix.Syscall(unix.SYS_READAHEAD, fd, uintptr(off), uintptr(n)); errno != 0 {
		return errno
	}
	return nil
}
