# frozen_string_literal: true

require "push_server"
require "tmpdir"

# Work that a server does once, however many workers it has. The worker that holds the lock of a file does it. When this worker
# ends, for whatever reason, the system gives the lock to another one.
class OneWorker
  # name: names the work. The block does it, and does not return.
  def initialize(name, &work)
    @name, @work = name, work
    @mutex = Mutex.new
  end

  # Takes part, unless this worker does so already. Call it for a request: a thread that is started while the app is loaded runs
  # in the process that loads it, and not in the workers that are forked from it.
  def start
    @mutex.synchronize { @thread ||= Thread.new { wait_and_work } }
  end

  private

  # All workers of a server have the same log. Its name, the part of a cursor before the number, tells them from those of another
  # server.
  def wait_and_work
    path = File.join(Dir.tmpdir, "push_server-#{@name}-#{PushServer.cursor.to_s[/\A\h+/]}.lock")
    File.open(path, File::RDWR | File::CREAT, 0o600) do |file|
      file.flock(File::LOCK_EX)
      @work.call
    end
  end
end
