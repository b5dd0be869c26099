//! The page's words in English and Korean.
//!
//! One enum of everything the page says and one table: a message without a translation does not
//! compile. Plain strings are enough (nothing here counts things in a grammatical plural). What
//! machines print is theirs and is not translated.

/// A language of the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Korean.
    Ko,
}

impl Lang {
    /// All, with their own names, in the order of the settings.
    pub const ALL: [(Lang, &'static str); 2] = [(Lang::En, "English"), (Lang::Ko, "한국어")];

    /// The tag for `lang=` and for keeping.
    pub fn tag(self) -> &'static str {
        match self {
            Lang::En => "en",
            Lang::Ko => "ko",
        }
    }

    /// From a BCP 47 tag such as `ko-KR`; `None` is a language we don't speak.
    pub fn from_tag(tag: &str) -> Option<Lang> {
        let primary = tag.split(['-', '_']).next().unwrap_or_default();
        Lang::ALL
            .into_iter()
            .map(|(lang, _)| lang)
            .find(|lang| lang.tag().eq_ignore_ascii_case(primary))
    }

    /// A message's text, with words in the place of `{0}`, `{1}`; `{}` is `{0}`.
    pub fn fill(self, message: Message, words: &[&str]) -> String {
        let (mut rest, mut filled) = (self.text(message), String::new());
        while let Some((before, place)) = rest.split_once('{') {
            let (number, after) = place.split_once('}').unwrap_or((place, ""));
            let number: usize = number.parse().unwrap_or(0);
            filled.push_str(before);
            filled.push_str(words.get(number).unwrap_or(&""));
            rest = after;
        }
        filled + rest
    }

    /// A message's text.
    pub fn text(self, message: Message) -> &'static str {
        let (english, korean) = message.texts();
        match self {
            Lang::En => english,
            Lang::Ko => korean,
        }
    }
}

/// Everything the page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    SessionClock,
    CloseSession,
    CloseSessionQuestion,
    CloseSessionDetail,
    SessionClosed,
    SessionClosedDetail,
    StartAgain,
    Cancel,
    Close,
    Instances,
    AddNewInstance,
    Creating,
    NoInstances,
    NoInstancesHint,
    Settings,
    Language,
    FontSize,
    FontSmaller,
    FontLarger,
    ScreenReader,
    ScreenReaderDetail,
    Playground,
    PlaygroundDetail,
    SaveFile,
    OpenFile,
    OpenQuestion,
    Keep,
    KeepDetail,
    /// With `{}` for the time.
    KeptAt,
    Internet,
    InternetDetail,
    /// With `{}` for the name that was asked for.
    NoInternet,
    NoPackage,
    NoTls,
    Saving,
    NotRestored,
    OtherBuild,
    OtherBuildDetail,
    OtherBuildCommands,
    KeysTitle,
    KeyCopy,
    KeyPaste,
    KeyFont,
    KeyFullscreen,
    KeyInstances,
    KeyLeave,
    IpAddress,
    Memory,
    Cpu,
    NotMeasured,
    OpenPort,
    OpenPortDetail,
    OpenPortDirect,
    PortNumber,
    OpenHere,
    OpenTab,
    PanelsBeside,
    PanelsBelow,
    PanelsSize,
    Address,
    Reload,
    PortLimited,
    PortLeftOut,
    Lan,
    LanDetail,
    LanPlugged,
    LanUnplugged,
    LanPart,
    LanDelay,
    LanJitter,
    LanLoss,
    LanRate,
    LanReset,
    LanChanged,
    Capture,
    CaptureTitle,
    CaptureDetail,
    CaptureStart,
    CaptureStop,
    CaptureRunning,
    CaptureSave,
    CaptureFilter,
    CaptureKept,
    CaptureDropped,
    Interfaces,
    InterfaceDown,
    Packets,
    PacketTime,
    PacketSource,
    PacketDestination,
    PacketProtocol,
    PacketLength,
    PacketInfo,
    Docker,
    DockerDetail,
    DockerAsking,
    DockerOff,
    Containers,
    Images,
    Networks,
    Volumes,
    Events,
    TypeCommand,
    CopyCommand,
    Copied,
    NoContainers,
    NoImages,
    NoVolumes,
    NoEvents,
    ExitCode,
    OutOfMemory,
    Restarts,
    RestartPolicy,
    Limits,
    DetailCommand,
    DetailImage,
    DetailMounts,
    DetailNetworks,
    DetailEnvironment,
    DetailChanges,
    DetailLogs,
    DetailDirectory,
    ReadOnly,
    ContainerGone,
    NoChanges,
    NoLogs,
    /// With `{}` for how many.
    MoreChanges,
    Added,
    Changed,
    Deleted,
    /// With `{0}` for a size and `{1}` for a layer, as the two after it.
    CopiedUp,
    ReplacedBelow,
    HiddenBelow,
    /// With `{0}` for a number and `{1}` for an instruction.
    LayerOf,
    LayerOfDocker,
    LayersDetail,
    /// With `{0}` and `{1}` for sizes, as the one after it.
    OnDisk,
    OnDiskShared,
    Layer,
    Instruction,
    Size,
    /// With `{}` for a size, as the one after it.
    Shared,
    SavedBySharing,
    UsedBy,
    UsedByNobody,
    Dangling,
    Unknown,
    DownloadTar,
    LoadArchive,
    /// With `{}` for an instance.
    DropArchive,
    /// With `{}` for a file's name.
    NotArchive,
    Transfers,
    /// With `{0}` for a file or image and `{1}` for an instance.
    LoadingInto,
    SavingOf,
    /// With `{}` for a layer.
    Unpacking,
    Loaded,
    Downloading,
    HintNoSpace,
    HintArchive,
    Bridge,
    Gateway,
    Internal,
    NobodyAttached,
    HostNetwork,
    NoneNetwork,
    AlsoCalled,
    Mountpoint,
    FilterEvents,
    AllEvents,
    Trace,
    TraceDetail,
    Fullscreen,
    Restart,
    RestartDetail,
    SwitchOn,
    Delete,
    DeleteQuestion,
    DeleteDetail,
    Deleting,
    Terminal,
    Crashed,
    CrashedDetail,
    WorkerDead,
    WorkerDeadDetail,
    Starting,
    Ready,
    /// With `{}` for what is loading.
    Loading,
    EngineProgram,
    Downloaded,
    Dismiss,
    Tagline,
}

impl Message {
    /// English and Korean.
    #[rustfmt::skip]
    fn texts(self) -> (&'static str, &'static str) {
        use Message::*;
        match self {
            SessionClock => ("Session time", "세션 시간"),
            CloseSession => ("CLOSE SESSION", "세션 종료"),
            CloseSessionQuestion => ("Close this session?", "이 세션을 종료할까요?"),
            CloseSessionDetail => (
                "All instances run in this tab. They are deleted with everything in them.",
                "모든 인스턴스는 이 탭 안에서 돌고 있습니다. 안에 있는 것과 함께 모두 삭제됩니다."),
            SessionClosed => ("Session closed", "세션이 종료되었습니다"),
            SessionClosedDetail => (
                "All of its instances have been deleted. Nothing is left behind but downloaded images in this browser's cache.",
                "모든 인스턴스가 삭제되었습니다. 브라우저 캐시에 내려받은 이미지 말고는 남은 것이 없습니다."),
            StartAgain => ("Start a new session", "새 세션 시작"),
            Cancel => ("Cancel", "취소"),
            Close => ("Close", "닫기"),
            Instances => ("Instances", "인스턴스"),
            AddNewInstance => ("ADD NEW INSTANCE", "새 인스턴스 추가"),
            Creating => ("Creating…", "만드는 중…"),
            NoInstances => ("No instance yet", "아직 인스턴스가 없습니다"),
            NoInstancesHint => (
                "Each instance is a Linux host of its own with its own Docker. It runs in this tab: no account, no server, no time limit.",
                "인스턴스는 저마다 자기 Docker를 가진 리눅스 호스트입니다. 이 탭 안에서 돌아가므로 계정도 서버도 시간 제한도 없습니다."),
            Settings => ("Settings", "설정"),
            Language => ("Language", "언어"),
            FontSize => ("Terminal font size", "터미널 글자 크기"),
            FontSmaller => ("Smaller font", "글자 작게"),
            FontLarger => ("Larger font", "글자 크게"),
            ScreenReader => ("Screen reader support", "화면 낭독기 지원"),
            ScreenReaderDetail => (
                "Announces terminal output. Slower with much output.",
                "터미널 출력을 읽어 줍니다. 출력이 많으면 느려집니다."),
            Playground => ("This playground", "이 플레이그라운드"),
            PlaygroundDetail => (
                "All instances as they are: processes, files, terminals.",
                "프로세스와 파일, 터미널까지 모든 인스턴스를 지금 그대로."),
            SaveFile => ("Save to a file", "파일로 저장"),
            OpenFile => ("Open a saved file…", "저장한 파일 열기…"),
            OpenQuestion => (
                "The present instances are deleted. Open the file?",
                "지금 있는 인스턴스는 삭제됩니다. 파일을 열까요?"),
            Keep => ("Keep it in this browser", "이 브라우저에 보관"),
            KeepDetail => (
                "Kept every half minute, and when the tab is hidden; goes on when the page is loaded again. Closing the session deletes it.",
                "30초마다, 그리고 탭이 가려질 때 보관하고, 페이지를 다시 열면 이어서 돕니다. 세션을 종료하면 지워집니다."),
            KeptAt => ("Kept at {}", "{}에 보관됨"),
            Internet => ("Gateway to the Internet", "인터넷 게이트웨이"),
            InternetDetail => (
                "Programs' plain http:// requests go out through this browser, to servers that let other sites' pages read them (CORS). HTTPS of programs cannot be passed on.",
                "프로그램의 http:// 요청을 이 브라우저를 통해 내보냅니다. 다른 사이트의 페이지가 읽도록 허용한(CORS) 서버에만 닿습니다. 프로그램이 직접 맺는 HTTPS는 전달하지 못합니다."),
            NoInternet => (
                "{} is on the Internet, and this playground has none. Its machines reach each other, `docker search` lists the images there are, and `apt-get`, `pip` and `npm install` take packages from the playground's own repositories. Plain http:// requests can go out through the browser: Settings, “Gateway to the Internet”.",
                "{} 은(는) 인터넷에 있는 이름인데, 이 플레이그라운드에는 인터넷이 없습니다. 인스턴스끼리는 서로 닿고, `docker search`로 쓸 수 있는 이미지를, `apt-get`·`pip`·`npm install`로 플레이그라운드에 담긴 패키지를 쓸 수 있습니다. http:// 요청은 설정의 ‘인터넷 게이트웨이’를 켜면 브라우저를 통해 내보냅니다."),
            NoPackage => (
                "{} is not among this playground's packages. `curl {}` has the list.",
                "{} 은(는) 이 플레이그라운드에 담긴 패키지가 아닙니다. `curl {}`로 목록을 볼 수 있습니다."),
            NoTls => (
                "The gateway passes on plain http:// requests only: HTTPS is encrypted from end to end. Type http:// instead; the browser itself asks the server by HTTPS.",
                "게이트웨이는 http:// 요청만 전달합니다. HTTPS는 양 끝 사이에서 암호화되어 있기 때문입니다. http://로 바꿔 입력하면 브라우저가 서버에 HTTPS로 대신 묻습니다."),
            Saving => ("Memory", "메모리"),
            NotRestored => ("The saved playground cannot be opened:", "저장한 플레이그라운드를 열 수 없습니다:"),
            OtherBuild => ("Saved by another build of Drydock", "다른 빌드의 Drydock에서 저장한 파일입니다"),
            OtherBuildDetail => (
                "Its machines can only go on in the build that saved them. A new playground has been started.",
                "저장한 빌드에서만 이어서 돌릴 수 있습니다. 새 플레이그라운드를 시작했습니다."),
            OtherBuildCommands => (
                "These commands were typed in it, to set it up again:",
                "다시 준비할 수 있도록, 그 안에서 입력한 명령입니다:"),
            KeysTitle => ("Keys in the terminal", "터미널 단축키"),
            KeyCopy => ("Copy the selection", "선택한 글 복사"),
            KeyPaste => ("Paste", "붙여 넣기"),
            KeyFont => ("Font size", "글자 크기"),
            KeyFullscreen => ("Full screen", "전체 화면"),
            KeyInstances => ("Previous or next instance", "이전·다음 인스턴스"),
            KeyLeave => ("Leave the terminal", "터미널에서 나가기"),
            IpAddress => ("IP address", "IP 주소"),
            Memory => ("Memory", "메모리"),
            Cpu => ("CPU", "CPU"),
            NotMeasured => ("not measured yet", "아직 재지 않음"),
            OpenPort => ("OPEN PORT", "포트 열기"),
            OpenPortDetail => (
                "Opens the page that this instance serves at a port. Ports that are listened on appear by themselves beside the button.",
                "이 인스턴스가 포트에서 보여 주는 페이지를 엽니다. 열려 있는 포트는 버튼 옆에 저절로 나타납니다."),
            OpenPortDirect => (
                "This browser, or the page Drydock is embedded in, does not allow service workers, so pages of ports are shown in the panel and in no tab of their own.",
                "이 브라우저나 Drydock을 담은 페이지가 서비스 워커를 허용하지 않아, 포트의 페이지를 새 탭 없이 패널에서만 보여 줍니다."),
            PortNumber => ("Port", "포트"),
            OpenHere => ("Show in a panel", "패널에서 보기"),
            OpenTab => ("Open in a new tab", "새 탭에서 열기"),
            PanelsBeside => ("Panels beside the terminal", "패널을 터미널 옆에"),
            PanelsBelow => ("Panels below the terminal", "패널을 터미널 아래에"),
            PanelsSize => ("Size of the panels", "패널 크기"),
            Address => ("Address", "주소"),
            Reload => ("Reload", "새로 고침"),
            PortLimited => (
                "No service worker is allowed here: the page is fetched and put together in the panel. WebSockets, frames, web workers and what scripts keep in the browser are missing.",
                "서비스 워커를 쓸 수 없어 페이지를 가져와 패널 안에서 조립합니다. 웹소켓, 프레임, 웹 워커, 스크립트가 브라우저에 저장하는 것은 빠집니다."),
            PortLeftOut => ("Not shown: {}", "보이지 않는 것: {}개"),
            Lan => ("LAN", "LAN"),
            LanDetail => (
                "What is done to the cable between an instance and the switch. Delay and loss count each way. Instances in different parts do not hear each other; names and open ports work in every part.",
                "인스턴스와 스위치 사이의 케이블을 다룹니다. 지연과 손실은 방향마다 적용됩니다. 구역이 다른 인스턴스끼리는 통하지 않으며, 이름 찾기와 포트 열기는 어느 구역에서나 됩니다."),
            LanPlugged => ("Plugged in", "연결됨"),
            LanUnplugged => ("Unplugged", "연결 끊김"),
            LanPart => ("Part", "구역"),
            LanDelay => ("Delay", "지연"),
            LanJitter => ("Jitter", "지터"),
            LanLoss => ("Loss", "손실"),
            LanRate => ("Rate", "속도"),
            LanReset => ("Reset", "초기화"),
            LanChanged => ("Its cable is not as usual", "케이블 상태가 평소와 다름"),
            Capture => ("CAPTURE", "패킷 캡처"),
            CaptureTitle => ("Packet capture", "패킷 캡처"),
            CaptureDetail => (
                "Choose an interface and start. Nothing is kept before.",
                "인터페이스를 고르고 시작하세요. 그 전에는 아무것도 남기지 않습니다."),
            CaptureStart => ("Start", "시작"),
            CaptureStop => ("Stop", "멈춤"),
            CaptureRunning => ("capturing", "캡처 중"),
            CaptureSave => ("Download pcap", "pcap 내려받기"),
            CaptureFilter => ("Filter", "거르기"),
            CaptureKept => ("{} packets", "패킷 {}개"),
            CaptureDropped => ("{} dropped", "{}개 버림"),
            Interfaces => ("Interfaces", "인터페이스"),
            InterfaceDown => ("down", "꺼짐"),
            Packets => ("Packets", "패킷"),
            PacketTime => ("Time", "시간"),
            PacketSource => ("Source", "출발지"),
            PacketDestination => ("Destination", "목적지"),
            PacketProtocol => ("Protocol", "프로토콜"),
            PacketLength => ("Length", "길이"),
            PacketInfo => ("Info", "정보"),
            Docker => ("DOCKER", "DOCKER"),
            DockerDetail => (
                "Show the containers, images, networks, volumes and events of this instance's Docker",
                "이 인스턴스에 있는 Docker의 컨테이너, 이미지, 네트워크, 볼륨, 이벤트를 보여 줍니다"),
            DockerAsking => ("Asking Docker…", "Docker에 묻는 중…"),
            DockerOff => ("This instance does not run.", "이 인스턴스는 실행되고 있지 않습니다."),
            Containers => ("Containers", "컨테이너"),
            Images => ("Images", "이미지"),
            Networks => ("Networks", "네트워크"),
            Volumes => ("Volumes", "볼륨"),
            Events => ("Events", "이벤트"),
            TypeCommand => ("Type it into the terminal", "터미널에 입력하기"),
            CopyCommand => ("Copy", "복사"),
            Copied => ("Copied", "복사됨"),
            NoContainers => ("There is no container yet. This makes one:", "아직 컨테이너가 없습니다. 이렇게 만들 수 있습니다:"),
            NoImages => ("There is no image yet. This downloads one:", "아직 이미지가 없습니다. 이렇게 내려받을 수 있습니다:"),
            NoVolumes => ("There is no volume yet. This makes one:", "아직 볼륨이 없습니다. 이렇게 만들 수 있습니다:"),
            NoEvents => ("Nothing has happened yet.", "아직 일어난 일이 없습니다."),
            ExitCode => ("exit code {}", "종료 코드 {}"),
            OutOfMemory => ("killed: out of memory", "메모리 부족으로 강제 종료"),
            Restarts => ("restarts: {}", "다시 시작 {}번"),
            RestartPolicy => ("restart policy {}", "재시작 정책 {}"),
            Limits => ("Limits", "제한"),
            DetailCommand => ("Command", "명령"),
            DetailImage => ("Image", "이미지"),
            DetailMounts => ("Mounts", "마운트"),
            DetailNetworks => ("Networks", "네트워크"),
            DetailEnvironment => ("Environment", "환경 변수"),
            DetailChanges => ("What it changed", "바꾼 파일"),
            DetailLogs => ("Log", "로그"),
            DetailDirectory => ("working directory {}", "작업 디렉터리 {}"),
            ReadOnly => ("read-only", "읽기 전용"),
            ContainerGone => ("This container is gone.", "이 컨테이너는 삭제되었습니다."),
            NoChanges => ("Nothing: its files are its image's.", "없음: 모든 파일이 이미지 그대로입니다."),
            NoLogs => ("It has written nothing.", "출력이 없습니다."),
            MoreChanges => ("and {} more", "그 밖에 {}개"),
            Added => ("added", "추가"),
            Changed => ("changed", "변경"),
            Deleted => ("deleted", "삭제"),
            CopiedUp => ("copied up: {0} from {1}", "copy-up: {1}에서 {0} 복사"),
            ReplacedBelow => ("a new file in the place of {0} in {1}", "{1}의 {0}를 대신하는 새 파일"),
            HiddenBelow => ("hides {0} in {1}", "{1}의 {0}를 가림"),
            LayerOf => ("layer {0} ({1})", "레이어 {0} ({1})"),
            LayerOfDocker => ("Docker's own layer", "Docker 자체 레이어"),
            LayersDetail => (
                "Each block is a layer, the base at the bottom. A block under several images is stored once.",
                "블록 하나가 레이어이고 맨 아래가 베이스입니다. 여러 이미지 아래에 놓인 블록은 한 번만 저장됩니다."),
            OnDisk => ("{0} on the disk", "디스크에 {0}"),
            OnDiskShared => ("{0} on the disk; {1} if nothing were shared", "디스크에 {0}, 공유하지 않았다면 {1}"),
            Layer => ("Layer", "레이어"),
            Instruction => ("Instruction", "명령"),
            Size => ("Size", "크기"),
            Shared => ("{} shared", "공유 {}"),
            SavedBySharing => ("Sharing it saves {}.", "공유해서 {}를 아낍니다."),
            UsedBy => ("Used by", "사용하는 곳"),
            UsedByNobody => ("none", "없음"),
            Dangling => ("dangling: it has no name", "이름 없는(dangling) 이미지"),
            Unknown => ("not known", "알 수 없음"),
            DownloadTar => ("Download as tar", "tar로 내려받기"),
            LoadArchive => ("Load an archive…", "아카이브 불러오기…"),
            DropArchive => ("Drop it here: {} loads the images in it", "여기에 놓으면 {}에 이미지를 불러옵니다"),
            NotArchive => (
                "{} is not an archive of images: drop a .tar or .tar.gz that `docker save` wrote.",
                "{} 은(는) 이미지 아카이브가 아닙니다. `docker save`로 만든 .tar나 .tar.gz 파일을 놓으세요."),
            Transfers => ("Images on their way", "옮기는 중인 이미지"),
            LoadingInto => ("Loading {0} into {1}", "{0} → {1} 불러오는 중"),
            SavingOf => ("Reading {0} from {1}", "{1}에서 {0} 읽는 중"),
            Unpacking => ("unpacking layer {}", "레이어 {} 푸는 중"),
            Loaded => ("Loaded {0} into {1}", "{0} → {1} 불러옴"),
            Downloading => ("{0} of {1} goes to your downloads", "{1}의 {0} 이미지를 내려받습니다"),
            HintNoSpace => (
                "The instance's disk is full. `docker system prune` makes room.",
                "인스턴스의 디스크가 가득 찼습니다. `docker system prune`으로 자리를 비울 수 있습니다."),
            HintArchive => (
                "Archives of images are written by `docker save -o FILE IMAGE`; images must be for linux/riscv64 to run here.",
                "이미지 아카이브는 `docker save -o 파일 이미지`로 만듭니다. 여기서 실행하려면 linux/riscv64용 이미지여야 합니다."),
            Bridge => ("bridge", "브리지"),
            Gateway => ("gateway", "게이트웨이"),
            Internal => ("internal: no way out", "내부 전용(internal)"),
            NobodyAttached => ("nobody is attached", "연결된 컨테이너 없음"),
            HostNetwork => ("Containers use the instance's own interfaces.", "컨테이너가 인스턴스의 인터페이스를 그대로 씁니다."),
            NoneNetwork => ("Containers have a loopback interface only.", "컨테이너에 루프백 인터페이스만 있습니다."),
            AlsoCalled => ("also called {}", "다른 이름 {}"),
            Mountpoint => ("On the instance", "인스턴스에서의 위치"),
            FilterEvents => ("Kinds of events", "이벤트 종류"),
            AllEvents => ("all", "전체"),
            Trace => ("STRACE", "STRACE"),
            TraceDetail => (
                "Show the system calls of every program of this instance in its terminal",
                "이 인스턴스의 모든 프로그램이 부르는 시스템 호출을 터미널에 보여 줍니다"),
            Fullscreen => ("Full screen", "전체 화면"),
            Restart => ("RESTART", "재시작"),
            RestartDetail => (
                "Restart this instance; what is on its disk stays",
                "이 인스턴스를 다시 시작합니다. 디스크의 내용은 그대로 남습니다"),
            SwitchOn => ("START", "켜기"),
            Delete => ("DELETE", "삭제"),
            DeleteQuestion => ("Delete this instance?", "이 인스턴스를 삭제할까요?"),
            DeleteDetail => (
                "Its containers, images and files go with it.",
                "그 안의 컨테이너, 이미지, 파일도 함께 사라집니다."),
            Deleting => ("Deleting…", "삭제하는 중…"),
            Terminal => ("Terminal", "터미널"),
            Crashed => ("This instance has crashed", "이 인스턴스가 멈췄습니다"),
            CrashedDetail => (
                "This is a bug in Drydock, not in what you did. The other instances go on. The text below says where it happened.",
                "여러분 탓이 아니라 Drydock의 버그입니다. 다른 인스턴스는 계속 돌아갑니다. 아래 글에 일어난 곳이 적혀 있습니다."),
            WorkerDead => ("The machines have stopped", "모든 머신이 멈췄습니다"),
            WorkerDeadDetail => (
                "This is a bug in Drydock. Everything in them is lost. The text below says where it happened.",
                "Drydock의 버그입니다. 안에 있던 것은 모두 사라졌습니다. 아래 글에 일어난 곳이 적혀 있습니다."),
            Starting => ("Starting…", "시작하는 중…"),
            Ready => ("Ready", "준비됨"),
            Loading => ("Loading {}", "{} 내려받는 중"),
            EngineProgram => ("engine", "엔진"),
            Downloaded => ("downloaded", "내려받음"),
            Dismiss => ("Dismiss", "지우기"),
            Tagline => ("A Docker host in your browser tab", "브라우저 탭 안의 Docker 호스트"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_matched_by_their_language() {
        for (tag, lang) in [
            ("ko", Some(Lang::Ko)),
            ("ko-KR", Some(Lang::Ko)),
            ("KO_kr", Some(Lang::Ko)),
            ("en-GB", Some(Lang::En)),
            ("kok", None),
            ("de", None),
            ("", None),
        ] {
            assert_eq!(Lang::from_tag(tag), lang, "{tag}");
        }
    }

    #[test]
    fn words_are_put_into_messages_as_they_are() {
        let fill = |message, words: &[&str]| Lang::En.fill(message, words);
        let layer = fill(Message::LayerOf, &["2", "RUN find -exec rm {} +"]);
        assert_eq!(layer, "layer 2 (RUN find -exec rm {} +)");
        assert_eq!(
            Lang::Ko.fill(Message::CopiedUp, &["5B", &layer]),
            format!("copy-up: {layer}에서 5B 복사")
        );
        assert_eq!(fill(Message::ExitCode, &["7"]), "exit code 7");
    }

    #[test]
    fn every_language_is_reachable_by_its_tag() {
        for (lang, _) in Lang::ALL {
            assert_eq!(Lang::from_tag(lang.tag()), Some(lang));
        }
    }
}
