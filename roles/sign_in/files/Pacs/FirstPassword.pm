package Pacs::FirstPassword;

# A password that an administrator gave opens nothing but the form for a new one: afterwards only its owner knows it.
use strict;
use Mouse;
use DBI;
use Lemonldap::NG::Portal::Main::Constants qw(PE_OK PE_ERROR PE_DONE PE_PP_CHANGE_AFTER_RESET PE_PASSWORD_OK PE_PP_PASSWORD_IN_HISTORY);

extends 'Lemonldap::NG::Portal::Main::Plugin';

use constant aroundSub => { authenticate => 'authenticate' };
use constant hook => { passwordBeforeChange => 'refuse_the_same' };

sub init { 1 }

sub authenticate {
    my ( $self, $sub, $req ) = @_;
    return $self->change($req) if $req->data->{newpassword};
    my $result = $sub->($req);
    return $result unless $result == PE_OK;
    my $must_change = eval { $self->must_change( $req->user ) };
    if ($@) {
        $self->logger->error("Accounts can't be read: $@");
        return PE_ERROR;
    }
    return PE_OK unless $must_change;
    $req->data->{oldpassword} = $req->data->{password};
    return $self->ask_again( $req, PE_PP_CHANGE_AFTER_RESET );
}

# The form of a new password, which carries the old one. Ends in the form of the sign-in, never in a session.
sub change {
    my ( $self, $req ) = @_;
    my $result = $self->p->{_passwordDB}->_modifyPassword( $req, 1 );
    return $self->ask_again( $req, $result || PE_DONE );
}

sub ask_again {
    my ( $self, $req, $result ) = @_;
    $req->data->{noerror} = 1;
    $self->p->{_authentication}->setSecurity($req);
    return $result;
}

sub must_change {
    my ( $self, $login ) = @_;
    my $conf = $self->conf;
    my ($must) =
      DBI->connect_cached( $conf->{dbiAuthChain}, $conf->{dbiAuthUser}, $conf->{dbiAuthPassword}, { RaiseError => 1, AutoCommit => 1 } )
      ->selectrow_array( 'SELECT must_change FROM account WHERE login = ?', {}, $login );
    return $must;
}

sub refuse_the_same {
    my ( $self, $req, $user, $new, $old ) = @_;
    return defined $old && $new eq $old ? PE_PP_PASSWORD_IN_HISTORY : PE_OK;
}

1;
