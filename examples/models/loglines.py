"""Log lines made up for this example: no line was ever written by a real machine.

The sentences are those of common services (OpenSSH, sudo, PAM, nginx, auditd, Postgres, systemd, the kernel and others), and
names, addresses and numbers in them are drawn. A line is `security` if somebody who watches over a system would want to see it:
refused and odd logins, changed rights, attacks on web servers, blocked packets, malware. All others are `routine`.
"""

import random

SECURITY = """
sshd[{pid}]: Failed password for invalid user {user} from {ip} port {port} ssh2
sshd[{pid}]: Failed password for {user} from {ip} port {port} ssh2
sshd[{pid}]: Invalid user {user} from {ip} port {port}
sshd[{pid}]: error: maximum authentication attempts exceeded for {user} from {ip} port {port} ssh2 [preauth]
sshd[{pid}]: Disconnecting authenticating user {user} {ip} port {port}: Too many authentication failures [preauth]
sshd[{pid}]: Connection closed by invalid user {user} {ip} port {port} [preauth]
sshd[{pid}]: reverse mapping checking getaddrinfo for {host} [{ip}] failed - POSSIBLE BREAK-IN ATTEMPT!
sshd[{pid}]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={ip} user={user}
sshd[{pid}]: User {user} from {ip} not allowed because not listed in AllowUsers
sshd[{pid}]: Did not receive identification string from {ip} port {port}
sudo: {user} : user NOT in sudoers ; TTY=pts/{n} ; PWD=/home/{user} ; USER=root ; COMMAND=/bin/sh
sudo: {user} : 3 incorrect password attempts ; TTY=pts/{n} ; PWD=/home/{user} ; USER=root ; COMMAND=/usr/bin/apt
su[{pid}]: FAILED SU (to root) {user} on pts/{n}
su[{pid}]: pam_unix(su:auth): authentication failure; logname={user} uid={uid} tty=pts/{n} ruser={user} user=root
login[{pid}]: FAILED LOGIN ({n}) on '/dev/tty{n}' FOR '{user}', Authentication failure
useradd[{pid}]: new user: name={user}, UID=0, GID=0, home=/root, shell=/bin/bash
usermod[{pid}]: add '{user}' to group 'sudo'
passwd[{pid}]: pam_unix(passwd:chauthtok): password changed for root by {user}
audit[{pid}]: avc: denied {{ write }} for pid={pid} comm="{prog}" name="shadow" scontext=httpd_t tcontext=shadow_t
audit[{pid}]: ANOM_PROMISCUOUS dev={dev} prom=256 old_prom=0 auid={uid} uid=0
audit[{pid}]: USER_AUTH pid={pid} uid=0 acct="{user}" exe="/usr/sbin/sshd" addr={ip} terminal=ssh res=failed
kernel: apparmor="DENIED" operation="open" profile="/usr/sbin/{prog}" name="/etc/shadow" pid={pid} requested_mask="r" denied_mask="r"
kernel: [UFW BLOCK] IN={dev} OUT= SRC={ip} DST={ip} PROTO=TCP SPT={port} DPT=23 SYN
kernel: TCP: request_sock_TCP: Possible SYN flooding on port {port}. Sending cookies.
kernel: {prog}[{pid}]: segfault at 0 ip {hex} sp {hex} error 4: possible stack smashing detected
nginx: {ip} "GET /../../../../etc/passwd HTTP/1.1" 403 {size} "-" "curl"
nginx: {ip} "GET /index.php?id=1' UNION SELECT password FROM users-- HTTP/1.1" 400 {size} "-" "sqlmap"
nginx: {ip} "POST /wp-login.php HTTP/1.1" 401 {size} "-" "python-requests"
nginx: {ip} "GET /search?q=<script>alert(document.cookie)</script> HTTP/1.1" 403 {size}
nginx: {ip} "GET /?x=${{jndi:ldap://{host}/a}} HTTP/1.1" 400 {size}
nginx: {ip} "GET /.env HTTP/1.1" 404 {size} "-" "zgrab"
nginx: {ip} "GET /cgi-bin/..%2f..%2fbin/sh HTTP/1.1" 403 {size}
modsecurity: [{ip}] Access denied with code 403: SQL Injection Attack Detected via libinjection
fail2ban.actions[{pid}]: NOTICE [sshd] Ban {ip}
fail2ban.filter[{pid}]: INFO [sshd] Found {ip}
postgres[{pid}]: FATAL: password authentication failed for user "{user}"
postgres[{pid}]: FATAL: no pg_hba.conf entry for host "{ip}", user "{user}", database "{db}", no encryption
mysqld: Access denied for user '{user}'@'{ip}' (using password: YES)
dovecot: imap-login: Disconnected (auth failed, {n} attempts): user=<{user}>, method=PLAIN, rip={ip}
postfix/smtpd[{pid}]: warning: unknown[{ip}]: SASL LOGIN authentication failed: UGFzc3dvcmQ6
vsftpd: FAIL LOGIN: Client "{ip}", user "{user}"
openvpn[{pid}]: TLS Error: cannot authenticate peer {ip}:{port}, certificate verification failed
clamd[{pid}]: /srv/{db}/upload.bin: Win.Trojan.Agent-{n} FOUND
rkhunter[{pid}]: Warning: suspicious file types found in /dev: /dev/shm/{prog}
aide[{pid}]: changed: /usr/bin/{prog} SHA256 mismatch, file was modified
suricata[{pid}]: [1:{n}:3] ET SCAN Nmap scripting engine user-agent detected [Priority: 1] {ip}:{port} -> {ip}:80
snort[{pid}]: [1:{n}:2] EXPLOIT shellcode x86 NOOP attempt [Classification: Executable code] {ip} -> {ip}
kube-apiserver: Unauthorized request: invalid bearer token from {ip} to /api/v1/secrets
vault[{pid}]: permission denied: token of {user} may not read secret/{db} from {ip}
docker[{pid}]: refused privileged container requested by {user}: mount of /etc denied
""".strip().splitlines()

ROUTINE = """
sshd[{pid}]: Accepted publickey for {user} from {ip} port {port} ssh2: ED25519 SHA256:{hex}
sshd[{pid}]: pam_unix(sshd:session): session opened for user {user}(uid={uid}) by (uid=0)
sshd[{pid}]: pam_unix(sshd:session): session closed for user {user}
sshd[{pid}]: Received disconnect from {ip} port {port}:11: disconnected by user
sshd[{pid}]: Server listening on 0.0.0.0 port 22.
systemd[1]: Started {prog}.service.
systemd[1]: Stopped {prog}.service.
systemd[1]: Starting Daily apt download activities...
systemd[1]: {prog}.service: Deactivated successfully.
systemd[1]: {prog}.service: Main process exited, code=exited, status=1/FAILURE
systemd[1]: {prog}.service: Scheduled restart job, restart counter is at {n}.
systemd[1]: Created slice User Slice of UID {uid}.
systemd[1]: logrotate.service: Consumed {n}ms CPU time.
systemd-logind[{pid}]: New session {n} of user {user}.
systemd-logind[{pid}]: Session {n} logged out. Waiting for processes to exit.
systemd-resolved[{pid}]: Using degraded feature set UDP instead of UDP+EDNS0 for DNS server {ip}.
systemd-timesyncd[{pid}]: Synchronized to time server {ip}:123 ({host}).
CRON[{pid}]: (root) CMD (   cd / && run-parts --report /etc/cron.hourly)
CRON[{pid}]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)
CRON[{pid}]: pam_unix(cron:session): session closed for user root
kernel: {dev}: link up, 1000Mbps, full-duplex
kernel: {dev}: link down
kernel: EXT4-fs (sda{n}): mounted filesystem with ordered data mode. Quota mode: none.
kernel: usb 1-{n}: new high-speed USB device number {n} using xhci_hcd
kernel: CPU{n}: Core temperature above threshold, cpu clock throttled
kernel: Out of memory: Killed process {pid} ({prog}) total-vm:{size}kB
kernel: docker0: port {n}(veth{hex}) entered forwarding state
kernel: perf: interrupt took too long ({n} > {n}), lowering kernel.perf_event_max_sample_rate
nginx: {ip} "GET / HTTP/1.1" 200 {size} "-" "Mozilla/5.0"
nginx: {ip} "GET /static/app.{hex}.js HTTP/2.0" 200 {size} "https://{host}/" "Mozilla/5.0"
nginx: {ip} "POST /api/orders HTTP/1.1" 201 {size} "-" "okhttp"
nginx: {ip} "GET /api/items?page={n} HTTP/1.1" 200 {size} "https://{host}/items" "Mozilla/5.0"
nginx: {ip} "GET /favicon.ico HTTP/1.1" 304 0 "-" "Mozilla/5.0"
nginx: {ip} "GET /healthz HTTP/1.1" 200 2 "-" "kube-probe"
nginx: {ip} "GET /missing.png HTTP/1.1" 404 {size} "https://{host}/" "Mozilla/5.0"
nginx: [error] {pid}#0: *{n} upstream timed out while reading response header from upstream, client: {ip}
postgres[{pid}]: LOG: checkpoint complete: wrote {n} buffers; sync={n} s, total={n} s
postgres[{pid}]: LOG: automatic vacuum of table "{db}.public.orders": index scans: 1
postgres[{pid}]: LOG: connection authorized: user={user} database={db}
postgres[{pid}]: ERROR: duplicate key value violates unique constraint "orders_pkey"
postgres[{pid}]: LOG: database system is ready to accept connections
mysqld: InnoDB: Buffer pool(s) load completed
mysqld: Aborted connection {n} to db: '{db}' user: '{user}' host: '{ip}' (Got timeout reading communication packets)
dovecot: imap({user}): Logged out in={n} out={size}
dovecot: imap-login: Login: user=<{user}>, method=PLAIN, rip={ip}, lip={ip}, TLS
postfix/smtp[{pid}]: {hex}: to=<{user}@{host}>, relay={host}[{ip}]:25, delay={n}, status=sent (250 OK)
postfix/qmgr[{pid}]: {hex}: removed
dhclient[{pid}]: DHCPACK of {ip} from {ip}
dhclient[{pid}]: bound to {ip} -- renewal in {n} seconds.
NetworkManager[{pid}]: <info> device ({dev}): state change: ip-config -> activated
chronyd[{pid}]: Selected source {ip} ({host})
dockerd[{pid}]: level=info msg="Container {hex} health status changed to healthy"
containerd[{pid}]: level=info msg="shim disconnected" id={hex}
kubelet[{pid}]: Successfully pulled image "{host}/{prog}:{n}" in {n}ms
kubelet[{pid}]: Readiness probe failed for pod {prog}-{hex}: connection refused
kube-scheduler: Successfully assigned default/{prog}-{hex} to {host}
redis[{pid}]: Background saving terminated with success
redis[{pid}]: {n} changes in 300 seconds. Saving...
apt[{pid}]: Unpacking {prog} (1.{n}) over (1.{n}) ...
dpkg: status installed {prog}:amd64 1.{n}
rsyslogd: [origin software="rsyslogd"] rsyslogd was HUPed
smartd[{pid}]: Device: /dev/sda, SMART Usage Attribute: 194 Temperature_Celsius changed from {n} to {n}
sudo: {user} : TTY=pts/{n} ; PWD=/home/{user} ; USER=root ; COMMAND=/usr/bin/systemctl status {prog}
backup[{pid}]: archive {db}-{n}.tar.zst written, {size} bytes, verified
haproxy[{pid}]: Server web/{host} is UP, reason: Layer7 check passed, code: 200
prometheus[{pid}]: level=info component=tsdb msg="Head GC completed" duration={n}ms
grafana[{pid}]: logger=context userId={n} method=GET path=/api/dashboards status=200 duration={n}ms
jenkins[{pid}]: Finished job {prog} #{n}: SUCCESS
gitea[{pid}]: {user} pushed {n} commits to {db}/{prog}
""".strip().splitlines()

USERS = "root admin test oracle ubuntu deploy anna bruno carla dmitri emre fatima guo hanna ivan jo git backup www guest pi".split()
PROGRAMS = "nginx postgres redis api worker indexer mailer billing search exporter scheduler gateway collector ingest".split()
HOSTS = "web1.example.org db2.example.org cache.example.net edge7.example.com mail.example.org ns1.example.net".split()
DATABASES = "shop users events billing archive metrics inventory".split()
DEVICES = "eth0 eth1 ens3 wlan0 bond0 enp1s0".split()


def line(template, source):
    """The template with its gaps filled in."""
    address = lambda: ".".join(str(source.randrange(1, 255)) for _ in range(4))
    draw = {
        "pid": lambda: str(source.randrange(200, 65000)),
        "uid": lambda: str(source.randrange(1000, 1100)),
        "port": lambda: str(source.randrange(1024, 65000)),
        "size": lambda: str(source.randrange(100, 90000)),
        "n": lambda: str(source.randrange(1, 9000)),
        "hex": lambda: f"{source.getrandbits(40):010x}",
        "ip": address,
        "user": lambda: source.choice(USERS),
        "prog": lambda: source.choice(PROGRAMS),
        "host": lambda: source.choice(HOSTS),
        "db": lambda: source.choice(DATABASES),
        "dev": lambda: source.choice(DEVICES),
    }
    for gap, value in draw.items():
        while "{" + gap + "}" in template:
            template = template.replace("{" + gap + "}", value(), 1)
    return template.replace("{{", "{").replace("}}", "}")


def make(seed, unseen_share=0.2, lines=60):
    """Lines to train on, new lines of the same sentences, and lines of sentences that are in neither: (text, label) each."""
    source = random.Random(seed)
    train, known, unseen = [], [], []
    for label, templates in (("security", SECURITY), ("routine", ROUTINE)):
        templates = templates[:]
        source.shuffle(templates)
        cut = int(len(templates) * unseen_share)
        for template in templates[:cut]:
            unseen += [(line(template, source), label) for _ in range(lines // 3)]
        for template in templates[cut:]:
            train += [(line(template, source), label) for _ in range(lines // 2)]
            known += [(line(template, source), label) for _ in range(lines // 4)]
    for rows in (train, known, unseen):
        source.shuffle(rows)
    return train, known, unseen
