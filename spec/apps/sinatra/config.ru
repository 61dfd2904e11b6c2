# frozen_string_literal: true

require "digest"
require "push_server"
require "sinatra/base"
require "spec_app"
require "tmpdir"

# What Sinatra apps do, and a push connection among it.
class Shop < Sinatra::Base
  # Lets the second half of a stream go.
  GATE = Queue.new
  FILE = File.join(Dir.mktmpdir, "numbers.txt")
  File.write(FILE, (1..100_000).map { |number| "#{number}\n" }.join)
  at_exit { FileUtils.remove_entry(File.dirname(FILE)) }

  enable :sessions
  set :session_secret, "0123456789abcdef" * 8
  set :raise_errors, true
  set :show_exceptions, false

  before { headers "x-served-by" => "sinatra" }

  get("/visits") { (session[:visits] = session[:visits].to_i + 1).to_s }

  post "/upload" do
    name, file = params.fetch("file").values_at("filename", "tempfile")
    "#{params["note"]} #{name} #{file.size} #{Digest::SHA256.file(file.path).hexdigest}"
  end

  get "/stream" do
    content_type "text/plain"
    stream do |out|
      out << "before the gate\n"
      GATE.pop
      out << "after the gate\n"
    end
  end

  get("/old") { redirect to("/new") }
  get("/new") { "here it is" }
  post("/form") { redirect "/new", 303 }

  get("/file") { send_file FILE, disposition: :attachment, last_modified: Time.at(0) }

  get("/boom") { raise "boom" }
  get("/halt") { halt 418, { "content-type" => "text/plain" }, "short and stout" }

  get "/push" do
    halt 401, "who are you?" unless session[:visits]
    visits = session[:visits]
    env["rack.upgrade"] = SpecApp::Recorder.new(
      open: ->(client) { client.write("#{visits} visits") },
      message: ->(client, data) { client.write("#{data} to you") }
    )
    ""
  end
end

run Shop
