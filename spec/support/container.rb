# frozen_string_literal: true

require_relative "app_process"
require_relative "container_files"

# An app as in a container of docs/deployment: process 1 of its own namespace, with the command, the user, the folder and the
# environment of the Dockerfile, in a root that is read only but for the folders in memory of compose.yaml. Its programs are those
# of this machine. `bundle exec` runs the rest of its words. Needs root and Linux.
class Container < AppProcess
  # Mounts the root, and becomes the command. $1: the folder of the root; $2: that of the app; $3: that of the `bundle`; $4: user
  # and group; then folders in memory, each followed by the options of its mount, "--" and the command.
  SCRIPT = <<~'SH'
    set -eu
    root=$1 app=$2 programs=$3 user=$4
    shift 4
    mount --make-rprivate /
    mount -t tmpfs tmpfs "$root"
    for folder in /*; do
      case $folder in /app | /dev | /proc | /run | /tmp) continue ;; esac
      if [ -L "$folder" ]; then cp -P "$folder" "$root$folder"
      elif [ -d "$folder" ]; then
        mkdir "$root$folder"
        mount --rbind "$folder" "$root$folder"
        mount -o remount,bind,ro "$root$folder"
      fi
    done
    mkdir "$root/app" "$root/dev" "$root/programs" "$root/proc" "$root/tmp"
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    mount --bind "$app" "$root/app"
    mount --bind "$programs" "$root/programs"
    while [ "$1" != -- ]; do
      mount -t tmpfs -o "$2" tmpfs "$root$1"
      shift 2
    done
    shift
    mount -o remount,bind,ro "$root/app"
    mount -o remount,ro "$root"
    exec chroot --userspec="$user" "$root" "$@"
  SH

  BUNDLE = "#!/bin/sh\n# bundle exec COMMAND…\nshift\nexec \"$@\"\n"

  # Why there can be no container here; nil if there can.
  def self.missing
    return "only root can make a container" unless Process.uid.zero?

    "unshare does not work here" unless system("unshare", "--mount", "--pid", "--fork", "true", out: File::NULL, err: File::NULL)
  rescue Errno::ENOENT
    "there is no unshare here"
  end

  # tmpfs: the folders in memory: path => options of the mount. The others as AppProcess.new.
  def initialize(source, env: {}, files: {}, tmpfs: ContainerFiles.tmpfs)
    @tmpfs = tmpfs
    super(source, via: :configured, env: env, files: files, transport: :tcp)
  end

  # Its process 1, by the pid that it has here.
  def init = @init ||= Integer(File.read("/proc/#{@pid}/task/#{@pid}/children"))

  def signal(name) = Process.kill(name, init)
  def tree = @tree ||= ProcessTree.new(init)

  # Runs a command in the container, as its user, and returns its output and its status.
  def execute(*command)
    inside = %W[nsenter --target #{init} --mount --pid --root --wd --setgid #{group} --setuid #{user} env -i]
    Open3.capture2e(*inside, *variables.map { |pair| pair.join("=") }, *command)
  end

  private

  def user = ContainerFiles.last("USER").text[/\d+/]
  def group = ContainerFiles.last("USER").text[/:(\d+)/, 1]

  # Without the environment of the spec, but for what finds this checkout and its gems.
  def variables
    path = "/programs:#{File.join(ROOT, "exe")}:#{File.dirname(RbConfig.ruby)}:/usr/bin:/bin"
    here = ENV.slice("GEM_HOME", "GEM_PATH").merge("RUBYLIB" => environment.fetch("RUBYLIB"), "PATH" => path, "LANG" => "C.UTF-8")
    ContainerFiles.env.reject { |name,| name == "PATH" }.merge(here, "PORT" => "0").merge(@env)
  end

  def launch(_command, env)
    @env = env
    [root = temporary_folder, programs = temporary_folder, @dir].each { |folder| File.chmod(0o755, folder) }
    @tmpfs.each_key { |path| FileUtils.mkdir_p(File.join(@dir, path.delete_prefix("/app"))) if path.start_with?("/app/") }
    File.write(File.join(programs, "bundle"), BUNDLE, perm: 0o755)
    folders = @tmpfs.flat_map { |path, options| [path, options || "mode=1777"] }
    command = ["env", "-i", "--chdir=#{ContainerFiles.last("WORKDIR").text}", *variables.map { |pair| pair.join("=") },
               *ContainerFiles.last("CMD").exec]
    super(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", SCRIPT, "container", root, @dir, programs,
           "#{user}:#{group}", *folders, "--", *command], {})
  end
end
