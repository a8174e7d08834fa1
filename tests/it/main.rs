//! The contract of the public API, one sentence a test.

mod adversity;
mod all_ways;
mod archives;
mod backup_faults;
mod backups;
mod bad_input;
mod basics;
mod batches;
mod binding;
mod bytes;
mod callers;
mod checkpoint;
mod compaction;
mod compaction_faults;
mod compressed;
mod cursors;
mod eras;
mod expiry;
mod faults;
mod fixtures;
mod followed_keyspaces;
mod followers;
#[cfg(unix)]
mod forks;
mod full;
#[cfg(target_os = "linux")]
mod full_disks;
mod handles;
mod hints;
#[path = "../crash/hook.rs"]
mod hook;
#[cfg(target_os = "linux")]
mod hostile_world;
mod inspect;
mod inspect_hostile;
mod intervals;
#[cfg(target_os = "linux")]
mod journal;
mod keyspaces;
#[cfg(unix)]
mod large;
mod large_faults;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(target_os = "linux")]
mod memory;
mod models;
#[cfg(target_os = "linux")]
mod mount;
mod mutations;
#[cfg(target_os = "linux")]
mod owner;
#[cfg(target_os = "linux")]
mod power_cuts;
mod put_back;
mod ranges;
mod read_only;
#[cfg(unix)]
mod reads;
mod recovery;
#[path = "../crash/report.rs"]
mod report;
mod scans;
mod scans_of_damage;
mod snapshots;
mod space;
mod spares;
mod strange_bytes;
mod successors;
mod sweeps;
#[cfg(unix)]
mod tail;
mod threads;
mod times;
mod together;
mod transactions;
mod verify_values;
