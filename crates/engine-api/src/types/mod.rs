//! The documents of the API, a noun a file. Field names and order are those of Docker's answers.

mod container;
mod endpoint;
mod event;
mod exec;
mod host_config;
mod image;
mod network;
mod volume;

pub use container::{
    Config, ContainerInspect, ContainerSummary, CreateBody, CreateResponse, Health, HealthResult,
    HostConfigSummary, MountPoint, NetworkSettings, NetworkSettingsSummary, Port, State, WaitError,
    WaitResponse,
};
pub use endpoint::{EndpointSettings, NetworkingConfig};
pub use event::{Actor, Event};
pub use exec::{ExecConfig, ExecInspect, ExecProcessConfig, ExecStartBody};
pub use host_config::{
    DeviceMapping, HostConfig, ImageOptions, LogConfig, MountSpec, PortBinding, RestartPolicy,
    TmpfsOptions, Ulimit, UpdateBody, VolumeOptions,
};
pub use image::{DeletedImage, GraphDriver, HistoryItem, ImageInspect, ImageSummary, RootFs};
pub use network::{
    ConfigReference, EndpointResource, Ipam, IpamConfig, Network, NetworkConnectBody,
    NetworkCreateBody, NetworkDisconnectBody,
};
pub use volume::{Volume, VolumeCreateBody, VolumeUsage};
