//! How the segments of an archive are packed.
//!
//! Floor 1. Imports nothing.

/// How the segments of an archive are packed.
///
/// ```
/// use zipcask::{Compression, Options};
///
/// # fn main() -> zipcask::Result<()> {
/// # let dir = std::env::temp_dir().join(format!("zipcask-compression-{}", std::process::id()));
/// # if cfg!(not(feature = "deflate")) { return Ok(()); }
/// let db = Options::new().archive_compression(Compression::Deflate).open(&dir)?;
/// db.put("apple", "red ".repeat(10_000))?;
/// db.compact()?;
/// assert!(db.stats().archived_bytes < 10_000);
/// assert_eq!(db.get("apple")?.expect("it is there").len(), 40_000);
/// # db.close()?;
/// # std::fs::remove_dir_all(dir).expect("nobody else has it");
/// # Ok(())
/// # }
/// ```
///
/// Compressed, a segment lies in chunks of about 64 KiB, each an entry of the ZIP: its values are not mapped, but unpacked and
/// copied, a chunk for a value that is in none of those used last.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Compression {
    /// As it is: mapped, and read without copying.
    #[default]
    None,
    /// Deflate, which every tool opens. Needs the feature `deflate` of this crate, which is on by default.
    Deflate,
    /// Zstandard, which packs better and unpacks faster; not every tool opens it. Needs the feature `zstd` of this crate, and a C
    /// compiler to build it.
    Zstd,
}

impl Compression {
    /// Those that there are, but for `None`.
    pub(crate) const ALL: [Compression; 2] = [Compression::Deflate, Compression::Zstd];

    /// In manifests, and of the feature that it needs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Deflate => "deflate",
            Compression::Zstd => "zstd",
        }
    }

    /// Whether this program was built with what it needs.
    pub(crate) fn is_built_in(self) -> bool {
        match self {
            Compression::None => true,
            Compression::Deflate => cfg!(feature = "deflate"),
            Compression::Zstd => cfg!(feature = "zstd"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Compression;

    #[test]
    fn a_method_is_there_if_the_program_was_built_with_it_and_none_always_is() {
        let methods = [Compression::None, Compression::Deflate, Compression::Zstd];
        let built_in = [true, cfg!(feature = "deflate"), cfg!(feature = "zstd")];
        assert_eq!(methods.map(Compression::is_built_in), built_in);
    }
}
