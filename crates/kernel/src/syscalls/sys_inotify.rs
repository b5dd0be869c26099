//! System calls: watching files for changes, and file handles. Refused.

use super::table::Row;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::enosys(
        26,
        "inotify_init1",
        "programs look again by themselves (tail -f polls)",
    ),
    Row::enosys(27, "inotify_add_watch", "as inotify_init1"),
    Row::enosys(28, "inotify_rm_watch", "as inotify_init1"),
    Row::enosys(262, "fanotify_init", "as a kernel without CONFIG_FANOTIFY"),
    Row::enosys(263, "fanotify_mark", "as fanotify_init"),
    Row::enosys(
        264,
        "name_to_handle_at",
        "as a kernel without CONFIG_FHANDLE",
    ),
    Row::enosys(265, "open_by_handle_at", "as name_to_handle_at"),
];
