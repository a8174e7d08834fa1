//! File systems of their own for tests that need one: for root, on Linux.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system that is gone when this is dropped.
pub(crate) struct Mount {
    dir: tempfile::TempDir,
    /// "loop3"; empty without one.
    device: String,
    mounted: bool,
}

impl Mount {
    /// ext4 in an image of so many bytes; `features` go to mkfs.
    ///
    /// # Errors
    /// What is missing here.
    pub(crate) fn ext4(bytes: u64, features: &[&str]) -> Result<Mount, String> {
        Mount::of_an_image(bytes, "mkfs.ext4", &[&["-q", "-F", "-b", "4096"], features].concat())
    }

    /// XFS in an image of so many bytes: 300 MiB at least, of which it takes what is written.
    ///
    /// # Errors
    /// What is missing here.
    pub(crate) fn xfs(bytes: u64) -> Result<Mount, String> {
        Mount::of_an_image(bytes, "mkfs.xfs", &["-q", "-f"])
    }

    fn of_an_image(bytes: u64, mkfs: &str, options: &[&str]) -> Result<Mount, String> {
        let mut mount = Mount::nowhere()?;
        let image = mount.dir.path().join("image");
        let made = fs::File::create(&image).and_then(|file| file.set_len(bytes));
        made.map_err(|error| error.to_string())?;
        run(mkfs, &[options, &[text(&image)]].concat())?;
        let device = run("losetup", &["--find", "--show", text(&image)])?;
        mount.device = device.trim().trim_start_matches("/dev/").to_string();
        mount.mount()?;
        Ok(mount)
    }

    fn mount(&mut self) -> Result<(), String> {
        run("mount", &[&format!("/dev/{}", self.device), text(&self.root())])?;
        self.mounted = true;
        Ok(())
    }

    /// Unmounts it and mounts it again, with whatever its journal has to mend; for one that lies in an image.
    ///
    /// # Errors
    /// What the system says, while a file of it is in use for one.
    pub(crate) fn mount_again(&mut self) -> Result<(), String> {
        // A process that another test is starting may have its files open, for a moment.
        let start = std::time::Instant::now();
        while let Err(why) = run("umount", &[text(&self.root())]) {
            if start.elapsed().as_secs() >= 60 {
                return Err(why);
            }
            std::thread::yield_now();
        }
        self.mounted = false;
        self.mount()
    }

    /// tmpfs of so many bytes.
    ///
    /// # Errors
    /// What is missing here.
    pub(crate) fn tmpfs(bytes: u64) -> Result<Mount, String> {
        let mut mount = Mount::nowhere()?;
        run("mount", &["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs", text(&mount.root())])?;
        mount.mounted = true;
        Ok(mount)
    }

    /// Has it take no writes any more.
    ///
    /// # Errors
    /// What the system says, while a file is open for writing for one.
    pub(crate) fn make_read_only(&self) -> Result<(), String> {
        run("mount", &["-o", "remount,ro", text(&self.root())]).map(drop)
    }

    fn nowhere() -> Result<Mount, String> {
        let root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        root.then_some(()).ok_or("only root may mount")?;
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        fs::create_dir(dir.path().join("mount")).map_err(|error| error.to_string())?;
        Ok(Mount { dir, device: String::new(), mounted: false })
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    /// The name of its block device.
    pub(crate) fn device(&self) -> &str {
        &self.device
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Whatever of it there is; nobody is left to tell.
        if self.mounted {
            let _ = run("umount", &[text(&self.root())]);
        }
        if !self.device.is_empty() {
            let _ = run("losetup", &["--detach", &format!("/dev/{}", self.device)]);
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
