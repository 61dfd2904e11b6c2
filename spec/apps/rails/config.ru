# frozen_string_literal: true

require "push_server"
require "spec_app"
require "tmpdir"

require "rails"
require "action_controller/railtie"
require "action_cable/engine"

# The smallest Rails app that has pages and ActionCable, which takes its connections by rack.hijack.
class News < Rails::Application
  config.root = Dir.mktmpdir
  config.eager_load = false
  config.secret_key_base = "0123456789abcdef" * 8
  config.logger = Logger.new($stdout)
  config.log_level = :warn
  config.consider_all_requests_local = false
  config.action_dispatch.show_exceptions = Rails.gem_version < "7.1" ? true : :all
  config.action_cable.mount_path = "/cable"
  config.action_cable.cable = { "adapter" => "async" }
  at_exit { FileUtils.remove_entry(root) }
end

module ApplicationCable
  class Connection < ActionCable::Connection::Base
    identified_by :name

    # As an app does that knows its users by their cookies.
    def connect = self.name = cookies[:name] || reject_unauthorized_connection
    def disconnect = SpecApp.report("disconnected", name: name)
  end
end

class NewsChannel < ActionCable::Channel::Base
  def subscribed = stream_from("news")
  def unsubscribed = SpecApp.report("unsubscribed", name: connection.name)
  def speak(data) = ActionCable.server.broadcast("news", { "from" => connection.name, "text" => data["text"] })
end

class PagesController < ActionController::Base
  include ActionController::Cookies
  # Before Rails has been initialized skip_forgery_protection is an error on 6.1.
  self.allow_forgery_protection = false

  def login
    cookies[:name] = params[:name]
    session[:name] = params[:name]
    redirect_to "/me"
  end

  def me = render(plain: "you are #{session[:name]}")
  def boom = raise("boom")

  def upload
    file = params.require(:file)
    render(json: { name: file.original_filename, size: file.size, note: params[:note] })
  end

  def broadcast
    ActionCable.server.broadcast("news", { "from" => "the page", "text" => params[:text] })
    head :no_content
  end

  def push
    request.env["rack.upgrade"] = SpecApp::Recorder.new(open: ->(client) { client.write("from a controller") })
    head :ok
  end
end

# Rails runs such an action on a thread of its own.
class LiveController < ActionController::Base
  include ActionController::Live

  GATE = Queue.new

  def show
    response.headers["Content-Type"] = "text/event-stream"
    response.headers["Last-Modified"] = Time.now.httpdate
    response.stream.write("data: before\n\n")
    GATE.pop
    response.stream.write("data: after\n\n")
  ensure
    response.stream.close
  end
end

News.initialize!
News.routes.draw do
  post "/login", to: "pages#login"
  post "/upload", to: "pages#upload"
  %w[me boom broadcast push].each { |name| get "/#{name}", to: "pages##{name}" }
  get "/live", to: "live#show"
  # The script of Rails for pages.
  script = Dir[ActionCable::Engine.root.join("app/assets/javascripts/{action_cable,actioncable}.js")].min
  get "/action_cable.js", to: ->(_env) { [200, { "content-type" => "text/javascript" }, [File.read(script)]] }
  get "/page", to: ->(_env) { [200, { "content-type" => "text/html" }, ["<!doctype html>"]] }
  get "/hijack", to: ->(env) { [200, { "content-type" => "text/plain" }, [env["rack.hijack?"].inspect]] }
end

run News
