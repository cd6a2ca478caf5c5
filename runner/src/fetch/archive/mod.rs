//! Archives: downloaded through the checked client, judged by their first bytes, unpacked into a folder of our own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};
use reqwest::Response;
use session::code_url::ArchiveKind;
use tokio::sync::mpsc;
use url::Url;

use super::error::FetchError;
use super::jobs::Jobs;
use super::limits::{FetchLimits, bytes, seconds};
use super::report::{Reporter, Transfer, shown};
use super::web::{Follow, Web, WebError, host_of};
use budget::Budget;
use extract::Extractor;
use fault::ArchiveError;
use stream::{CHUNKS, Chunk, ChunkReader};

pub(super) mod budget;
mod extract;
pub(super) mod fault;
mod name;
mod stream;
mod tar_gz;
mod zip_file;

/// Bytes that tell an archive's kind.
const HEAD: usize = 4;

/// An archive to fetch.
pub(super) struct ArchiveFetch<'a> {
    pub(super) url: &'a Url,
    pub(super) kind: Option<ArchiveKind>,
    pub(super) checksum: Option<&'a str>,
    pub(super) web: Web<'a>,
    pub(super) reporter: &'a Reporter,
    pub(super) jobs: &'a Jobs,
}

impl ArchiveFetch<'_> {
    /// Unpacks into `code` (a new folder in `staging`) and answers the folder below it that is to be entered.
    pub(super) async fn run(self, staging: &Path, code: &Path) -> Result<PathBuf, FetchError> {
        let host = host_of(self.url);
        let name = self.url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
        self.reporter.line(&format!("Downloading {} from {host}", shown(name, 80)));
        let answer = self.web.get(self.url.clone(), Follow::AnyHost).await?;
        let mut download = Download::new(answer.response, &answer.url, self.web.limits, self.reporter)?;
        let head = download.head().await?;
        let kind = judge(self.kind, &head, is_page(&download.response))?;

        let (chunks, receiver) = mpsc::channel(CHUNKS);
        let thread = {
            let (staging, code) = (staging.to_owned(), code.to_owned());
            let (limits, stop) = (self.web.limits.clone(), self.jobs.stop.clone());
            self.jobs.spawn_blocking(move || {
                std::fs::create_dir(&code).map_err(ArchiveError::Disk)?;
                let reader = ChunkReader::new(receiver);
                let out = Extractor::new(&code, Budget::new(limits.clone(), stop.clone()));
                match kind {
                    ArchiveKind::TarGz => tar_gz::unpack(reader, out, Budget::new(limits, stop)),
                    ArchiveKind::Zip => zip_file::unpack(reader, out, &staging),
                }
            })
        };
        let digest = download.pump(head, chunks).await?;
        // A thread that gave up early closed the channel; its error says why.
        let folder = thread.await.map_err(|error| ArchiveError::Disk(std::io::Error::other(error)))??;
        let actual = hex::encode(digest);
        match self.checksum {
            Some(expected) if !expected.eq_ignore_ascii_case(&actual) => {
                Err(ArchiveError::Checksum { expected: shown(expected, 64), actual }.into())
            }
            _ => Ok(folder),
        }
    }
}

/// The bytes decide, but a name that says otherwise is a mistake worth telling.
fn judge(named: Option<ArchiveKind>, head: &[u8], page: bool) -> Result<ArchiveKind, ArchiveError> {
    let text = |kind| match kind {
        ArchiveKind::Zip => "zip",
        ArchiveKind::TarGz => "tar.gz",
    };
    match (named, ArchiveKind::of_bytes(head)) {
        (None, Some(found)) => Ok(found),
        (Some(named), Some(found)) if named == found => Ok(found),
        (Some(named), Some(ArchiveKind::Zip)) => Err(ArchiveError::Mislabelled { named: text(named), found: "zip" }),
        (Some(named), Some(ArchiveKind::TarGz)) => Err(ArchiveError::Mislabelled { named: text(named), found: "gzip" }),
        (_, None) if head.is_empty() => Err(ArchiveError::NotAnArchive(", but an empty file")),
        (_, None) if page => Err(ArchiveError::NotAnArchive(", but a web page")),
        (_, None) => Err(ArchiveError::NotAnArchive("")),
    }
}

fn is_page(response: &Response) -> bool {
    let kind = response.headers().get(reqwest::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/html"))
}

/// The body on its way: counted, hashed, watched for stalls.
struct Download<'a> {
    response: Response,
    host: String,
    limit: u64,
    stall: Duration,
    digest: Context,
    transfer: Transfer<'a>,
}

impl<'a> Download<'a> {
    fn new(response: Response, url: &Url, limits: &FetchLimits, reporter: &'a Reporter) -> Result<Self, WebError> {
        let (host, total) = (host_of(url), response.content_length());
        if total.is_some_and(|total| total > limits.download_bytes) {
            return Err(WebError::TooLarge(host, limits.download_bytes));
        }
        if let Some(total) = total {
            reporter.line(&format!("  {}", bytes(total)));
        }
        let transfer = Transfer::new(reporter, total);
        Ok(Self {
            response,
            host,
            limit: limits.download_bytes,
            stall: limits.stall,
            digest: Context::new(&SHA256),
            transfer,
        })
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, WebError> {
        let chunk = match tokio::time::timeout(self.stall, self.response.chunk()).await {
            Err(_) => return Err(WebError::Stalled(self.host.clone(), seconds(self.stall))),
            Ok(Err(error)) => return Err(WebError::Broken(self.host.clone(), error.without_url())),
            Ok(Ok(chunk)) => chunk,
        };
        if let Some(bytes) = &chunk {
            self.digest.update(bytes);
            self.transfer.advance(bytes.len() as u64);
            if self.transfer.done > self.limit {
                return Err(WebError::TooLarge(self.host.clone(), self.limit));
            }
        }
        Ok(chunk)
    }

    /// The first bytes: at least [`HEAD`], unless the body is shorter.
    async fn head(&mut self) -> Result<Bytes, WebError> {
        let mut head = BytesMut::new();
        while head.len() < HEAD {
            match self.chunk().await? {
                Some(bytes) => head.extend_from_slice(&bytes),
                None => break,
            }
        }
        Ok(head.freeze())
    }

    /// Hands everything on. Ends early, with a digest of no meaning, when the receiver is gone.
    async fn pump(mut self, head: Bytes, chunks: mpsc::Sender<Chunk>) -> Result<impl AsRef<[u8]>, WebError> {
        let mut next = Some(head);
        while let Some(bytes) = next {
            if chunks.send(Chunk::Bytes(bytes)).await.is_err() {
                return Ok(self.digest.finish());
            }
            next = self.chunk().await?;
        }
        // Closed already: the thread's own result tells.
        let _ = chunks.send(Chunk::End).await;
        self.transfer.close("Downloaded");
        Ok(self.digest.finish())
    }
}
