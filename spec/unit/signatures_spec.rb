# frozen_string_literal: true

require_relative "unit_helper"
require_relative "../support/signatures"
require "push_server/cli"
require "push_server/rack/handler"

# Compares sig/push_server.rbs with the loaded code: classes, their public methods, also native ones, and constants.
RSpec.describe Signatures do
  # No app uses these, so they have no signature.
  internal = {
    config: %i[CommandLine Configuration ConfigurationFile ConfigurationWords ForeignSwitches Hooks Processors PumaWords
                SettingsReport],
    net: %i[Activation Binder CertificateWatch Certificates Endpoint Listener SelfSigned SocketFile TicketKeys Validity],
    process: %i[Birth ExitHook ExitStatus FailureReport Forking Hub Leader Lines Link Listening MetricsSocket OpenFiles Outside Protocol PublishSocket
                RoleSignals SelfPipe Service Signals SocketPlaces Statistics ThreadPool Worker],
    commands: %i[Backtraces ControlClient ControlCommand ControlServer ControlSocket EventLoop Notifier OwnProcess Pidfile Program SingleCommands
                 StatisticsReport],
    restarts: %i[Check CheckAnswer ExecVariables Inheritance OriginalCommand Role Restart Supervisor],
    rack: %i[Bodies ClientCertificate EmptyInput EnvTemplate ErrorReport RackupFile Router Sendfile],
    others: %i[Callbacks Plural Unsupported]
  }.values.flatten
  declared = described_class.all

  # Of a Struct, its members only.
  def singleton_methods_of(type)
    type < Struct ? [] : type.singleton_class.public_instance_methods(false) - [:new]
  end

  def constants_of(type) = type.constants(false).reject { |name| type.const_get(name).is_a?(Module) }

  # A native class has a `new` of its own.
  def instance_methods_of(type)
    made = type.singleton_class.public_method_defined?(:new, false) || type.private_method_defined?(:initialize, false)
    type.public_instance_methods(false) + (made && !(type < Struct) ? [:initialize] : [])
  end

  it "has all classes and modules that an app may use" do
    loaded = PushServer.constants.select { |name| PushServer.const_get(name).is_a?(Module) } - internal

    expect(declared.keys - ["PushServer"]).to match_array(loaded.map { |name| "PushServer::#{name}" })
  end

  declared.each do |name, signatures|
    it "has the methods and constants of #{name}, and no others" do
      type = Object.const_get(name)

      expect(signatures.instance).to match_array(instance_methods_of(type))
      expect(signatures.singleton).to match_array(singleton_methods_of(type))
      expect(signatures.constants).to match_array(constants_of(type))
    end
  end

  it "has the kinds of options" do
    kinds = File.read(described_class::FILE)[/type kind = ((?:.*\|\n)*.*)/, 1].scan(/\w+/).map(&:to_sym)

    expect(kinds).to match_array(PushServer::Option::TYPES.keys)
  end
end
