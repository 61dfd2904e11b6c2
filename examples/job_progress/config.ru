# frozen_string_literal: true

# Start it with `bin/push_server examples/job_progress/config.ru`, or with `rackup` in this folder, and open
# http://localhost:9292/.
#
# A job runs on a thread of its own and publishes its progress. It does not know which clients watch it, nor which worker serves
# them. It ends with its worker: a real job belongs into a process of its own, which publishes in the same way.

require "json"
require "push_server"
require "securerandom"

# A page that is loaded again while the job runs gets all messages from the beginning of the job.
PushServer.channel "jobs:*", history: 200, ttl: 600

# Pretends to encode a film.
class Job
  STAGES = ["Reading the film", "Counting the frames", "Encoding the picture", "Encoding the sound", "Writing the file"].freeze
  STEPS = 100

  attr_reader :id, :cursor

  def initialize
    @id = SecureRandom.hex(8)
    # A client that connects with this cursor gets all messages of the job.
    @cursor = PushServer.cursor
  end

  def start = Thread.new { run }

  private

  def run
    STEPS.times do |step|
      sleep rand(0.01..0.08)
      tell("progress", percent: (step + 1) * 100 / STEPS, stage: STAGES[step * STAGES.size / STEPS])
    end
    tell("done", percent: 100, stage: "film.webm is ready")
  end

  def tell(event, **news) = PushServer.publish("jobs:#{@id}", news, event: event)
end

# Watches the job that the URL names. Nobody can guess the job's id, so a client that knows the id may watch the job.
module JobWatcher
  def self.on_open(client) = client.subscribe("jobs:#{client.env["PATH_INFO"][/\h+\z/]}")
end

map("/push.js") { run PushServer::Javascript }

run(lambda do |env|
  case "#{env["REQUEST_METHOD"]} #{env["PATH_INFO"]}"
  when "GET /" then [200, { "content-type" => "text/html; charset=utf-8" }, [File.read(File.join(__dir__, "index.html"))]]
  when "POST /jobs"
    job = Job.new
    job.start
    [202, { "content-type" => "application/json" }, [JSON.generate(id: job.id, cursor: job.cursor)]]
  when %r{\AGET /jobs/\h{16}\z}
    env["rack.upgrade"] = JobWatcher
    [env["rack.upgrade?"] ? 200 : 404, {}, []]
  else [404, {}, []]
  end
end)
