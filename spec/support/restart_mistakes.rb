# frozen_string_literal: true

# Mistakes in the configuration that a restart is to load: what the file says => what the log says. Each must be found before the
# exec, because after it there is no old version any more. The app's folder has the folder `config`, the socket `other.sock`, on
# which another process listens, and the file `other.pid`, which names another process.
module RestartMistakes
  ALL = {
    "pidfile 'other.pid'" => /the pidfile .*other\.pid names process \d+, which runs/,
    "pidfile 'missing/server.pid'" => %r{cannot write the pidfile .*missing/server\.pid: No such file or directory},
    # A folder in which even root can make no file.
    "pidfile '/proc/server.pid'" => %r{cannot write the pidfile /proc/server\.pid},
    "pidfile 'config'" => /cannot write the pidfile .*config: Is a directory/,
    "control_socket 'missing/control.sock'" => %r{no control socket: .*missing/control\.sock},
    "control_socket 'other.sock'" => /no control socket: .*other\.sock/,
    "control_socket '/proc/control.sock'" => %r{no control socket: .*the folder /proc can have no sockets},
    "control_socket '#{"long" * 40}'" => /no control socket: .*long: the path has \d+ bytes/,
    "directory 'missing'" => /directory.*missing/,
    "public_dir 'missing'" => /public_dir.*missing/,
    "access_log :common\naccess_log_file 'missing/access.log'" => %r{cannot open the access log .*missing/access\.log},
    "access_log :common\naccess_log_file 'config'" => /cannot open the access log .*config/,
    'bind "unix://#{Dir.pwd}/missing/server.sock"' => %r{cannot listen on unix:.*missing/server\.sock},
    'bind "unix://#{Dir.pwd}/other.sock"' => /cannot listen on unix:.*other\.sock/,
    'bind ["unix://#{Dir.pwd}/twice.sock"] * 2' => /cannot listen on unix:.*twice\.sock/
  }.freeze

  OF_WORKERS = { "Process.setrlimit(:NOFILE, 256)\nworkers 40" => /40 workers need about \d+ open files/ }.freeze
end
