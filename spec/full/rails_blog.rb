# frozen_string_literal: true

require_relative "framework"

# The app of docs/rails.md, for specs that run it.
module RailsBlog
  GEMS = %w[railties actionpack activejob activerecord sqlite3].freeze

  # The files of `rails new` that are needed.
  SKELETON = {
    "config/application.rb" => <<~'RUBY',
      require "spec_app"
      require "rails"
      %w[action_controller action_view active_job active_record].each { |name| require "#{name}/railtie" }
      require "push_server"

      class Blog < Rails::Application
        config.load_defaults Rails::VERSION::STRING[/\d+\.\d+/]
        config.root = File.expand_path("..", __dir__)
        config.eager_load = Rails.env.production?
        config.cache_classes = Rails.env.production?
        config.secret_key_base = "0123456789abcdef" * 8
        config.logger = Logger.new($stdout)
        config.log_level = :warn
        config.active_job.queue_adapter = :async
      end
    RUBY
    "config/environment.rb" => "require_relative 'application'\nBlog.initialize!\n",
    "config.ru" => "require_relative 'config/environment'\nrun Rails.application\n",
    "config/database.yml" => <<~YAML,
      default: &default
        adapter: sqlite3
        database: blog.sqlite3
        pool: <%= ENV.fetch("RAILS_MAX_THREADS") { 5 } %>
        timeout: 15000
      development: *default
      production: *default
    YAML
    "config/initializers/schema.rb" => <<~RUBY,
      Rails.application.config.after_initialize do
        Rails.application.executor.wrap do
          ActiveRecord::Schema.verbose = false
          unless ActiveRecord::Base.connection.table_exists?("comments")
            ActiveRecord::Schema.define { create_table(:comments) { |table| table.string :author; table.string :text } }
          end
        end
      end
    RUBY
    "app/controllers/application_controller.rb" => <<~RUBY,
      class ApplicationController < ActionController::Base
        # For the specs of several workers.
        before_action { response.set_header("x-worker", Process.pid.to_s) }
      end
    RUBY
    "app/controllers/sessions_controller.rb" => <<~RUBY,
      class SessionsController < ApplicationController
        skip_forgery_protection

        def create
          session[:name] = params[:name]
          head :no_content
        end
      end
    RUBY
    "app/models/application_record.rb" => "class ApplicationRecord < ActiveRecord::Base; self.abstract_class = true; end\n",
    "app/jobs/application_job.rb" => "class ApplicationJob < ActiveJob::Base; end\n"
  }.freeze

  # Like bin/rails.
  RAILS = "Dir.chdir(__dir__)\nAPP_PATH = File.expand_path('config/application')\nrequire 'rails/commands'\n"
  # The words after bin/rails that start the server.
  SERVER = %w[server -u push_server -b 127.0.0.1 -p 0].freeze

  # Why examples are skipped.
  MISSING = "There is no #{GEMS.join(", ")} here: bin/test --full and bin/debian13 say how to have it".freeze

  module_function

  # All its files: path => text.
  def files = SKELETON.merge(DocsPage.new("rails.md").files)

  # The environment in which its gems are found; nil if they are missing.
  def environment
    return @environment if defined?(@environment)

    @environment = Framework.environment(*GEMS)
  end

  # The same for an environment of Rails.
  def environment_of(name) = (environment || {}).merge("RAILS_ENV" => name, "RACK_ENV" => nil)

  # In an example group: starts the app for its examples, as AppProcess.start does, or skips them.
  def serve(group, ...)
    return group.serve(...) if environment

    group.before(:context) { skip MISSING }
  end

  # In an example: the session of a user that has logged in, as headers of a request.
  def login(name, address)
    host = "127.0.0.1:#{address.ip_port}"
    client = HttpClient.new(address)
    response = client.request("POST", "/session", { "host" => host, "content-type" => "application/x-www-form-urlencoded" },
                              body: "name=#{name}")
    raise "no session: #{response.status}" unless response.status == 204

    { "host" => host, "origin" => "http://#{host}", "cookie" => response.all("set-cookie").map { |cookie| cookie[/\A[^;]+/] }.join("; ") }
  ensure
    client&.close
  end
end
