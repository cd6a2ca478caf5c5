//! Code for sessions in pods: archives and repositories served on this machine's address as pods see it.

use std::io::Write;
use std::net::IpAddr;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::archive_server::{ArchiveServer, Reply};
use crate::git_server::GitServer;

/// Serves until dropped.
pub struct Code {
    pub archives: ArchiveServer,
    pub git: GitServer,
    /// Nearly nothing: for sessions whose command is all there is to them.
    pub empty: String,
}

impl Code {
    pub async fn start(host: IpAddr) -> Result<Self> {
        let (archives, git) = (ArchiveServer::start_for(host).await, GitServer::start_for(host).await);
        let empty = archives.serve("/empty.tar.gz", Reply::Whole(tar_gz(&[("README", b"nothing\n")])?)).to_string();
        Ok(Self { archives, git, empty })
    }
}

pub fn tar_gz(files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        archive.append_data(&mut header, name, *content)?;
    }
    Ok(archive.into_inner()?.finish()?)
}

/// A folder with all that is in it.
pub fn tar_gz_of(folder: &std::path::Path) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    archive.append_dir_all("code", folder)?;
    Ok(archive.into_inner()?.finish()?)
}

pub fn zip(files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        archive.start_file(*name, zip::write::SimpleFileOptions::default())?;
        archive.write_all(content)?;
    }
    Ok(archive.finish()?.into_inner())
}
