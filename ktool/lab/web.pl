#!/usr/bin/perl
# A small web server for trying deployments: one process, one select() loop, no modules beyond Debian's perl-base.
#   /            "<version> <pod name>"     /healthz    200 "ok"            /slow?ms=N   answers after N ms (2000)
#   /client      the client's address       /crash      exits with code 1
# Environment: PORT (8080), VERSION, ACCESS_LOG=1, EXIT_AT_ONCE=1 (SIGTERM kills like any careless program),
# DRAIN_SECONDS (10, the longest that SIGTERM waits for clients). VERSION=broken answers 503 to everything.
use strict;
use warnings;
use Socket;
use POSIX ();
use Errno qw(EAGAIN EINTR EWOULDBLOCK);

$| = 1;
my $version = $ENV{VERSION} // 'v0';
my $name    = (POSIX::uname())[1];
my $port    = $ENV{PORT} // 8080;    # 0 takes any free one
my $access  = ($ENV{ACCESS_LOG} // '') eq '1';
my $broken  = $version eq 'broken';
my $longest = $ENV{DRAIN_SECONDS} // 10;
my $idle    = 1.0;    # how long a quiet keep-alive connection may still bring a request while we drain
my $ticks   = POSIX::sysconf(POSIX::_SC_CLK_TCK());
sub now { return (POSIX::times())[0] / $ticks }

socket(my $listener, PF_INET, SOCK_STREAM, 0) or die "socket: $!\n";
setsockopt($listener, SOL_SOCKET, SO_REUSEADDR, 1);
bind($listener, sockaddr_in($port, INADDR_ANY)) or die "port $port: $!\n";
listen($listener, 4096) or die "listen: $!\n";
nonblock($listener);

# One connection: {fd, sock, peer, in, out, due, slow, close, seen, gone}
#   due: [time, status, body, keep] of an answer that waits; gone: our side is shut, the client's end is awaited
my %conns;
my ($reading, $writing) = ('', '');
vec($reading, fileno($listener), 1) = 1;
my ($terminated, $draining) = (0, 0);
my $waiting = 0;    # connections with an answer that is due later
pipe(my $wake_r, my $wake_w) or die "pipe: $!\n";
nonblock($_) for $wake_r, $wake_w;
vec($reading, fileno($wake_r), 1) = 1;

# A byte in the pipe wakes select() even when the signal comes just before it.
$SIG{TERM} = $SIG{INT} = sub { $terminated = 1; syswrite($wake_w, 'x') };
$SIG{PIPE} = 'IGNORE';
$port = (sockaddr_in(getsockname $listener))[0];
print "$name web $version listens on port $port\n";

while (1) {
    start_draining() if $terminated && !$draining;
    my $timeout = $draining ? 0.05 : undef;
    if ($waiting) {
        my $now = now();
        for my $c (values %conns) {
            next unless $c->{due};
            my $left = $c->{due}[0] - $now;
            $left    = 0.005 if $left < 0.005;
            $timeout = $left if !defined $timeout || $left < $timeout;
        }
    }
    my ($r, $w);
    my $n = select($r = $reading, $w = $writing, undef, $timeout);
    if ($n > 0) {
        if (vec($r, fileno($wake_r), 1)) { sysread($wake_r, my $junk, 64) }
        for my $c (values %conns) {
            write_some($c) if vec($w, $c->{fd}, 1);
            read_some($c)  if exists $conns{ $c->{fd} } && vec($r, $c->{fd}, 1);
        }
        accept_all() if vec($r, fileno($listener), 1);
    }
    if ($waiting) {
        my $now = now();
        for my $c (values %conns) { answer_due($c) if $c->{due} && $c->{due}[0] <= $now }
    }
    drained() if $draining;
}

sub nonblock {
    my $flags = fcntl($_[0], 3, 0);                         # F_GETFL
    fcntl($_[0], 4, $flags | POSIX::O_NONBLOCK());          # F_SETFL
}

sub accept_all {
    my $count = 0;
    while (my $peer = accept(my $sock, $listener)) {
        nonblock($sock);
        setsockopt($sock, 6, 1, 1);                         # TCP_NODELAY
        my $fd = fileno($sock);
        my $address = (sockaddr_in($peer))[1];
        $conns{$fd} = { fd => $fd, sock => $sock, peer => inet_ntoa($address), in => '', out => '', seen => now() };
        vec($reading, $fd, 1) = 1;
        last if ++$count >= 256;
    }
    return $count;
}

sub drop {
    my ($c) = @_;
    $waiting-- if $c->{due};
    vec($reading, $c->{fd}, 1) = 0;
    vec($writing, $c->{fd}, 1) = 0;
    delete $conns{ $c->{fd} };
    close $c->{sock};
}

sub read_some {
    my ($c) = @_;
    my $got = sysread($c->{sock}, $c->{in}, 65536, length $c->{in});
    if (!defined $got) {
        return if $! == EAGAIN || $! == EINTR;
        return drop($c);
    }
    if ($got == 0) {
        # A client that is gone, or one that closed its side and still waits for the answer to what it sent.
        return drop($c) if $c->{gone} || (!$c->{due} && $c->{out} eq '');
        vec($reading, $c->{fd}, 1) = 0;
        $c->{close} = 1;
        return;
    }
    if ($c->{gone}) { $c->{in} = ''; return }
    return drop($c) if length $c->{in} > 1_048_576;
    $c->{seen} = now() if $draining;
    serve($c);
}

sub serve {
    my ($c) = @_;
    while (!$c->{due} && !$c->{close} && $c->{in} =~ /\r?\n\r?\n/) {
        my $head = substr($c->{in}, 0, $+[0]);
        my $body = $head =~ /^content-length:\s*(\d+)/mi ? $1 : 0;
        last if length($c->{in}) < length($head) + $body;
        substr($c->{in}, 0, length($head) + $body) = '';
        my ($method, $target, $minor) = $head =~ m{^([A-Z]+) (\S+) HTTP/1\.([01])};
        if (!defined $method) { respond($c, '400 Bad Request', "bad request\n", 0, 0); last }
        my $keep = $head =~ /^connection:\s*close/mi ? 0 : $minor || $head =~ /^connection:\s*keep-alive/mi ? 1 : 0;
        print "$c->{peer} $method $target\n" if $access;
        route($c, $method, $target, $keep);
    }
}

sub route {
    my ($c, $method, $target, $keep) = @_;
    my ($path, $query) = split /\?/, $target, 2;
    my $head = $method eq 'HEAD';
    return respond($c, '503 Service Unavailable', "$version $name is broken\n", $keep, $head) if $broken;
    return respond($c, '200 OK', "$version $name\n", $keep, $head) if $path eq '/';
    return respond($c, '200 OK', "ok\n", $keep, $head) if $path eq '/healthz';
    return respond($c, '200 OK', "$c->{peer}\n", $keep, $head) if $path eq '/client';
    if ($path eq '/slow') {
        my $ms = ($query // '') =~ /(?:^|&)ms=(\d+)/ ? $1 : 2000;
        $c->{due} = [ now() + $ms / 1000, $keep, $head ];
        $waiting++;
        return;
    }
    if ($path eq '/crash') { print "$name web $version crashes as asked\n"; POSIX::_exit(1) }
    return respond($c, '404 Not Found', "not found\n", $keep, $head);
}

sub answer_due {
    my ($c) = @_;
    my (undef, $keep, $head) = @{ delete $c->{due} };
    $waiting--;
    respond($c, '200 OK', "$version $name\n", $keep, $head);
    serve($c) if exists $conns{ $c->{fd} };
}

sub respond {
    my ($c, $status, $body, $keep, $head) = @_;
    $keep = 0 if $draining || $c->{close};
    $c->{close} = 1 unless $keep;
    $c->{out} .= "HTTP/1.1 $status\r\nContent-Type: text/plain\r\nContent-Length: " . length($body)
        . "\r\nConnection: " . ($keep ? 'keep-alive' : 'close') . "\r\n\r\n" . ($head ? '' : $body);
    write_some($c);
}

sub write_some {
    my ($c) = @_;
    if ($c->{out} ne '') {
        my $sent = syswrite($c->{sock}, $c->{out});
        if (!defined $sent) {
            return drop($c) unless $! == EAGAIN || $! == EINTR;
            $sent = 0;
        }
        substr($c->{out}, 0, $sent) = '';
    }
    my $left = $c->{out} ne '';
    vec($writing, $c->{fd}, 1) = $left ? 1 : 0;
    if (!$left && $c->{close} && !$c->{gone} && !$c->{due}) {
        # Closing at once could reset the connection while the answer is under way: shut our side, await the client's.
        return drop($c) unless vec($reading, $c->{fd}, 1);
        shutdown($c->{sock}, 1);
        ($c->{gone}, $c->{in}, $c->{seen}) = (1, '', now());
    }
}

# SIGTERM: whoever has connected, or is in the queue of the kernel, is served. Then we leave.
sub start_draining {
    print "$name web $version got SIGTERM, ", scalar(keys %conns), " connections open\n";
    exit 0 if ($ENV{EXIT_AT_ONCE} // '') eq '1';
    $draining = now();
    $_->{seen} = $draining for values %conns;
}

sub drained {
    my $now = now();
    for my $c (values %conns) {
        my $quiet = !$c->{due} && $c->{out} eq '' && $c->{in} eq '';
        drop($c) if $quiet && $now - $c->{seen} >= $idle;
    }
    my $accepted = accept_all();
    return if ($accepted || %conns) && $now - $draining < $longest;
    exit 0;
}
