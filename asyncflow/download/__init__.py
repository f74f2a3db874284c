"""Media to files: streamed, checked, resumable, and never in the way of a file that is there.

`Downloader` fetches the files of many jobs. The rules are in files of their own, and pure: `names`, `formats`, `answers`,
`addresses`, `rate`, `plan`. `carrier` is the way to media hosts, `folder` and `part` are the disk.
"""

from asyncflow.download.downloader import Downloader, DownloadOptions
from asyncflow.download.media_transport import MediaTransport
from asyncflow.download.results import DownloadProgress, DownloadStats, JobFiles, MediaFile

__all__ = ["DownloadOptions", "DownloadProgress", "DownloadStats", "Downloader", "JobFiles", "MediaFile", "MediaTransport"]
