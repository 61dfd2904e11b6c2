# frozen_string_literal: true

# Stands in for the native server. It serves nothing: threads wait in it until it is stopped, and it records what it is
# told.
class FakeNativeServer
  class << self
    # The one that was made last.
    attr_accessor :last
    # The message with which `new` raises, if any.
    attr_accessor :refusal
    attr_writer :log_level

    # Accepts any certificates.
    def check_tls(_content) = []

    def machine = { memory: 1 << 30, max_queued_total: 1 << 28, max_spooled_total: 1 << 28 }
  end

  # listeners: number => [socket, template]. told: what it was told, in order.
  attr_reader :app, :settings, :listeners, :told
  # What the threads do next, as Procs; without one they wait.
  attr_reader :work_to_do
  # Whether a drain ends in time.
  attr_writer :drains

  def initialize(app, settings)
    raise ArgumentError, self.class.refusal if self.class.refusal

    @app = app
    @settings = settings
    @listeners = {}
    @told = Thread::Queue.new
    @work_to_do = Thread::Queue.new
    @drains = true
    @hold = Thread::Queue.new
    @shortage = Thread::Queue.new
    self.class.last = self
  end

  def listen(fileno, template)
    lent = Socket.for_fd(fileno)
    lent.autoclose = false
    number = @listeners.size
    @listeners[number] = [lent.dup, template]
    number
  end

  def listen_tls(fileno, template, content, _keys)
    @told << [:listen_tls, content]
    listen(fileno, template)
  end

  def renew_tls(number, content, _keys)
    @told << [:renew_tls, number, content]
    true
  end

  def retire(number)
    @told << [:retire, number]
    @listeners.fetch(number).first.close
  end

  def publish_from(_fileno) = nil

  def serve_metrics(_fileno) = nil

  def start = @told << :start

  def work
    @told << :work
    while (task = @work_to_do.pop)
      task.call
    end
  end

  def threads_left=(count)
    @told << [:threads_left, count]
  end

  # No body ever lasts.
  def await_shortage
    @shortage.pop
    false
  end

  def reopen_logs = @told << :reopen_logs

  def stats = { connections: 0 }

  def histograms = {}

  # Waits after `hold_drain` until `release_drain`.
  def drain(seconds, restarts)
    @told << (restarts ? [:drain, seconds, :restarts] : [:drain, seconds])
    @hold.pop if @held
    @drains
  end

  def hold_drain = @held = true

  def release_drain = @hold << nil

  def stop
    @told << :stop
    @work_to_do.close
    @shortage.close
    @listeners.each_value { |socket, _| socket.close }
  end

  # Everything that it has been told so far.
  def story = Array.new(@told.size) { @told.pop }
end
